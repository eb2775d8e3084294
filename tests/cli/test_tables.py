"""Commands about NAS-Bench-201 as a user meets them."""

import json
import subprocess
import sys

import pytest
import yaml

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from tests.cli.test_commands import TINY_SEARCH
from tests.support.fake_table import make_table

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SKIPS = BEST.replace("nor_conv_3x3", "skip_connect")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    make_table().save(path)
    return str(path)


def test_query(table, tmp_path, capsys):
    load_genotype(SKIPS).save(tmp_path / "skips.json")
    assert main(["query", BEST, str(tmp_path / "skips.json"), "--table", table, "--format", "json"]) == 0
    best, skips = json.loads(capsys.readouterr().out)
    assert best["architecture"] == BEST
    assert best["cifar10"] == {"test_accuracy": 82.0, "rank": 1, "regret": 0.0}
    assert skips["architecture"] == SKIPS
    assert skips["cifar100"]["test_accuracy"] == 5.0 + 6 * 3
    assert main(["query", SKIPS, "--table", table]) == 0
    printed = capsys.readouterr().out
    assert SKIPS in printed
    for line, (accuracy, best) in {"cifar10": ("28.00", "82.00"), "imagenet16_120": ("18.00", "72.00")}.items():
        (row,) = [row for row in printed.splitlines() if row.split()[:1] == [line]]
        assert row.split()[1] == accuracy
        assert row.split()[-2:] == ["54.00", best]


def test_baseline(table, capsys):
    arguments = ["baseline", "--table", table, "--budget", "30", "--seeds", "3"]
    assert main([*arguments, "--format", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [run["method"] for run in runs] == ["random_sampling", "random_search", "regularised_evolution"]
    assert {(run["dataset"], run["budget"], run["seeds"]) for run in runs} == {("cifar10", 30, 3)}
    regrets = [run["cifar10"]["regret"]["mean"] for run in runs]
    assert regrets[0] > regrets[1]
    assert regrets[0] > regrets[2]
    assert main([*arguments, "--method", "random_search", "--dataset", "cifar100"]) == 0
    printed = capsys.readouterr().out
    assert "30 cells looked at on cifar100, mean and deviation of 3" in printed
    assert printed.count("random_search") == 3
    assert "random_sampling" not in printed


def test_mistakes(table, tmp_path, capsys):
    for arguments, message in (
        (["query", "DARTS_V2", "--table", table], "'DARTS_V2' is of the space 'darts'"),
        (["query", "|none~0|", "--table", table], "is not a cell of NAS-Bench-201"),
        (["query", BEST, "--table", str(tmp_path / "none.csv")], "There is no table"),
        (["baseline", "--table", table, "--budget", "0"], "must be from 1 to 15,625 cells"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_baselines_import_no_torch(table):
    code = (
        f"import sys; from lit_nas.cli import main; status = main(['baseline', '--table', {table!r}, '--seeds', '2']); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_describe_and_draw(tmp_path, capsys):
    assert main(["describe", SKIPS, "--network", "nas_bench_201", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["weights"] == 73_306
    assert main(["describe", SKIPS, "--network", "cifar"]) == 2
    assert "lacks ['reduce']" in capsys.readouterr().err
    assert main(["draw", SKIPS, "-o", str(tmp_path / "cell.png")]) == 0
    assert (tmp_path / "cell.png").read_bytes().startswith(b"\x89PNG")


def test_the_space_brings_its_own_defaults(tmp_path):
    """Those of the method's default space must not be left over."""
    small = ["--model.space", "NasBench201Space", "--model.space.cells_per_stage", "1"]
    data = TINY_SEARCH[TINY_SEARCH.index("--data") :]
    assert main(["fit", "--model", "DARTS", *small, *data, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    space = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["init_args"]["space"]
    assert space["init_args"]["operations"] == [
        "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3",
    ]  # fmt: skip
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert main(["derive", "--ckpt_path", str(checkpoint), "-o", str(tmp_path / "cell.json")]) == 0
    written = load_genotype(tmp_path / "run" / "genotype.json")
    assert load_genotype(tmp_path / "cell.json").architecture == written.architecture is not None
    assert load_genotype(checkpoint).architecture == written.architecture


@pytest.mark.slow
def test_a_whole_job(tmp_path):
    stage = {
        "data": {
            "class_path": "SyntheticDataModule",
            "init_args": {"num_images": 40, "height": 8, "width": 8, "batch_size": 4},
        },
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2, "enable_progress_bar": False},
    }
    space = {"class_path": "NasBench201Space", "init_args": {"init_channels": 2, "cells_per_stage": 1}}
    retrain = {"init_channels": 2, "num_cells": 3, "optim": {"auxiliary_weight": 0.0}}
    job = {
        "folder": str(tmp_path / "job"),
        "search": {**stage, "model": {"class_path": "DARTS", "init_args": {"space": space}}},
        "retrain": {**stage, "model": {"class_path": "RetrainModule", "init_args": retrain}},
    }
    job["retrain"] = {**job["retrain"], "data": yaml.safe_load(yaml.safe_dump(stage["data"]))}
    job["retrain"]["data"]["init_args"]["split"] = "all"
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    assert main(["run", "-c", str(tmp_path / "job.yaml")]) == 0
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    assert results["genotype"]["space"] == "nas_bench_201"


def test_retraining_takes_a_string(tmp_path):
    data = [*TINY_SEARCH[TINY_SEARCH.index("--data") :], "--data.split", "all"]
    small = ["--model.init_channels", "2", "--model.num_cells", "3", "--model.optim.auxiliary_weight", "0"]
    model = ["--model", "RetrainModule", "--model.genotype", SKIPS, *small]
    assert main(["fit", *model, *data, "--trainer.default_root_dir", str(tmp_path)]) == 0
    assert load_genotype(tmp_path / "checkpoints" / "last.ckpt").architecture == SKIPS
