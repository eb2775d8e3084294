"""`lit-nas correlate`: what a supernet says of its operations, and what it cannot say."""

import json

import pytest

from lit_nas.cli import main
from lit_nas.spaces import STACNAS_S1, load_operator_groups
from tests.test_configs import SMALL_BATCH, SMALL_SEARCH, SYNTHETIC, TRAINER

SEARCH = ["-c", "configs/search/darts_single_level.yaml", *SYNTHETIC, *SMALL_SEARCH, "--data.batch_size", "8"]
SEARCH += ["--trainer.accelerator", "cpu", "--model.space.operations", "S1"]
FEW = ["--images", "40"]
FILES = ["correlation.csv", "correlation.svg", "groups.json"]
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def callback(**arguments):
    return ["--trainer.callbacks", json.dumps([{"class_path": "CorrelateOperators", "init_args": arguments}])]


def test_a_supernet_is_looked_at_at_its_end_and_from_its_checkpoint(tmp_path, capsys):
    run, again = tmp_path / "run", tmp_path / "new" / "again"
    fit = [*SEARCH, *TRAINER, *SMALL_BATCH, "--trainer.default_root_dir", str(run)]
    assert main(["fit", *fit, *callback(images=40, clustering={"count": 3})]) == 0
    said = capsys.readouterr().out
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    assert main(["correlate", *SEARCH, *SMALL_BATCH, *checkpoint, *FEW, "--groups", "3", "-o", str(again)]) == 0
    output = capsys.readouterr().out
    assert "mean over 6 edges and 40 images" in output  # two of each of three cells
    assert output.removesuffix(f"Written to {again}\n") in said
    assert sorted(path.name for path in again.iterdir()) == FILES
    for name in FILES:
        assert (run / name).read_bytes() == (again / name).read_bytes()
    groups = load_operator_groups(again / "groups.json")
    assert len(groups.keys) == 3
    assert sorted(groups.operations) == sorted(STACNAS_S1.operations)
    assert main(["correlate", *SEARCH, *SMALL_BATCH, *checkpoint, *FEW, "-o", str(again)]) == 2
    assert f"'{again}' exists already: choose another folder with -o FOLDER" in capsys.readouterr().err
    other = ["--model.space.init_channels", "8", "-o", str(tmp_path / "other")]
    assert main(["correlate", *SEARCH, *SMALL_BATCH, *checkpoint, *FEW, *other]) == 2
    assert "model.space.init_channels" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_supernet_may_be_untrained_if_that_is_asked_for(tmp_path, capsys):
    options = ["--edges", "all", "--exclude", "skip_connect", "max_pool_3x3", "--threshold", "0.9", "--picture", "png"]
    folder = tmp_path / "found"
    assert main(["correlate", *SEARCH, "--untrained", *FEW, *options, "--definition", "maps", "-o", str(folder)]) == 0
    assert "(maps centred), mean over 15 edges" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [FILES[0], "correlation.png", FILES[2]]
    assert (folder / "correlation.png").read_bytes().startswith(b"\x89PNG")
    groups = load_operator_groups(folder / "groups.json").groups
    assert groups["skip_connect"] == ("skip_connect",)
    assert groups["max_pool_3x3"] == ("max_pool_3x3",)
    heading = (folder / "correlation.csv").read_text().splitlines()[0].split(",")
    assert heading[5:] == ["avg_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt"),
        (["--untrained", "--images", "1"], "--images must be at least 2, not 1"),
        (["--untrained", "--images", "81"], "81 training images were asked for, but data.split leaves 80"),
        (["--untrained", "--threshold", "1"], "--threshold must lie between -1 and 1, not be 1.0"),
        (["--untrained", "--threshold", "0.5", "--groups", "2"], "--threshold and --groups exclude"),
        (["--untrained", "--groups", "8", *FEW], "--groups is 8, but only 7 operations are correlated"),
        (["--untrained", "--exclude", "sep_conv"], "Unknown operations ['sep_conv'] in --exclude"),
        (
            ["--untrained", "--model", "MergeNAS", "--model.optim.level", "single"],
            "Candidates of the edge 0 -> 2 of cell 0 (normal) share a kernel",
        ),
    ],
)
def test_what_cannot_be_correlated_is_refused(arguments, message, tmp_path, capsys):
    assert main(["correlate", *SEARCH, *arguments, "-o", str(tmp_path / "found")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 2  # and how to see where it was raised
    assert not (tmp_path / "found").exists()


def test_data_without_images_are_refused(tmp_path, capsys):
    path = tmp_path / "text.yaml"
    model, data = ({"class_path": f"tests.support.text.{name}"} for name in ("LanguageSearch", "GrammarDataModule"))
    path.write_text(json.dumps({"model": model, "data": data, "trainer": {"accelerator": "cpu"}}))
    assert main(["correlate", "-c", str(path), "--untrained", "-o", str(tmp_path / "found")]) == 2
    assert "over training images, which GrammarDataModule does not have" in capsys.readouterr().err


def test_a_retraining_is_refused(tmp_path, capsys):
    retraining = ["-c", "configs/retrain/cifar.yaml", *SYNTHETIC]
    assert main(["correlate", *retraining, "--untrained", "-o", str(tmp_path / "found")]) == 2
    assert "are those of the candidates of a search, but RetrainModule is none" in capsys.readouterr().err


def test_weights_are_asked_for(capsys):
    with pytest.raises(SystemExit):
        main(["correlate", *SEARCH])
    assert "one of the arguments --ckpt_path --untrained is required" in capsys.readouterr().err
