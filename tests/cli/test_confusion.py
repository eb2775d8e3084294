"""`lit-nas confusion`: what a run has measured is measured again from its checkpoint."""

import json

import pytest

from lit_nas.cli import main
from tests.test_configs import CHANNELS, SYNTHETIC, TRAINER

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SMALL = [*CHANNELS, "--model.space.num_cells", "3", "--model.space.nodes", "2", "--data.batch_size", "4"]
MEASURE = {"class_path": "MeasureConfusion", "init_args": {"estimator": {"draws": 2, "batches": 2}}}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_a_checkpoint_has_the_confusion_that_its_run_has_logged(tmp_path, capsys):
    run = ["-c", "configs/search/stacnas.yaml", *SYNTHETIC, *TRAINER, *SMALL]
    run += ["--trainer.limit_train_batches", "2", "--trainer.default_root_dir", str(tmp_path / "run")]
    assert main(["fit", *run, "--trainer.callbacks", json.dumps([MEASURE])]) == 0
    (logged,) = json.loads((tmp_path / "run" / "confusion.json").read_text())["epochs"]
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.ckpt")
    command = ["confusion", *run, "--ckpt_path", checkpoint, "--draws", "2", "--batches", "2"]
    assert main([*command, "--out", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["checkpoint"] == checkpoint
    assert found["weights"] == logged["weights"]
    assert found["values"] == pytest.approx(logged["values"], rel=1e-5)
    assert f"of the {found['weights']:,} weights (2 draws of 2 mini-batches)" in capsys.readouterr().out
    assert main([*command, "--model.space.init_channels", "6"]) == 2
    assert "init_channels was 4 and is 6" in capsys.readouterr().err
    other = ["-c", "configs/search/dropnas.yaml", *run[2:], "--ckpt_path", checkpoint]
    assert main(["confusion", *other]) == 2
    assert "The checkpoint was written by StacNAS, but the model is DropNAS" in capsys.readouterr().err


def test_wrong_arguments(tmp_path, capsys):
    for words, message in (
        (["--ckpt_path", "no.ckpt", "--out", "found.txt"], "--out must name a .json file, not 'found.txt'"),
        (["--ckpt_path", "no.ckpt", "--batches", "1"], "GradientConfusion.batches must be at least 2, not 1"),
        (["--ckpt_path", "no.ckpt"], "no.ckpt"),
    ):
        assert main(["confusion", "-c", "configs/search/stacnas.yaml", *words]) == 2
        assert message in capsys.readouterr().err
