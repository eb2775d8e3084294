"""`lit-nas latency`: measures the candidates of a configuration, for a search that reads the file."""

import json

import pytest

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from tests.test_configs import SMALL_BATCH, SMALL_MOBILE, SYNTHETIC, TRAINER

SEARCH = ["-c", "configs/search/proxylessnas.yaml", "-c", "configs/layers/space/mobile.yaml", *SYNTHETIC, *SMALL_MOBILE]
FEW = ["--warm_up", "0", "--repeats", "2"]
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_the_candidates_of_a_configuration_are_measured(tmp_path, capsys):
    path = tmp_path / "latency.json"
    assert main(["latency", *SEARCH, "--out", str(path), *FEW]) == 0
    assert f"{path}: " in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["measured"] == {"warm_up": 0, "repeats": 2, "threads": 1, "batch_size": 1, "device": "cpu"}
    assert content["machine"]["processor"]
    assert any(key.startswith("mb_conv_7x7_e6 ") for key in content["milliseconds"])
    assert [each.name for each in tmp_path.iterdir()] == ["latency.json"]


@pytest.mark.slow
def test_what_is_measured_is_what_a_search_reads(tmp_path, capsys):
    path = tmp_path / "latency.json"
    assert main(["latency", *SEARCH, "--out", str(path), *FEW]) == 0
    part = json.dumps([{"class_path": "ExpectedCost", "init_args": {"measure": str(path)}}])
    run = [*SEARCH, *TRAINER, *SMALL_BATCH, "--model.arch_every", "1", "--model.optim.regularizers", part]
    assert main(["fit", *run, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    assert load_genotype(tmp_path / "run" / "genotype.json").space == "mobile"
    wider = [*run, "--model.space.last_channels", "16", "--trainer.default_root_dir", str(tmp_path / "wider")]
    assert main(["fit", *wider]) == 2
    assert "lacks 2 of the latencies that this search needs, for example `head " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SEARCH, "--out", "latency.txt"], "--out must name a .json file, not 'latency.txt'"),
        ([*SEARCH, "--out", "latency.json", "--repeats", "0"], "--repeats must be at least 1, not 0"),
        (
            ["-c", "configs/retrain/cifar.yaml", *SYNTHETIC, "--out", "latency.json"],
            "Latencies are those of the candidates of a search, but RetrainModule is none",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message, capsys):
    assert main(["latency", *arguments]) == 2
    assert message in capsys.readouterr().err
