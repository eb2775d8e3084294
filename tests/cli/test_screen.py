"""What a run prints at its end, and the commands that it names."""

import json
import logging
import re
import shlex
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar

from lit_nas.callbacks import ShowProgress
from lit_nas.cli import main
from lit_nas.cli.quiet import _Unneeded, quiet
from lit_nas.cli.retrain_command import find_layers
from lit_nas.cli.screen import resume_command
from lit_nas.cli.training import TrainingCLI
from lit_nas.genotype import load_genotype
from lit_nas.networks.registry import SPACES
from lit_nas.record.recorded_module import read_checkpoint
from tests.cli.test_commands import TINY_SEARCH, folder
from tests.support.resume_job import write_config
from tests.support.tiny_text import write_texts

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


def call(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lit-nas", *arguments])
    return main(arguments)


def command_after(printed, words):
    lines = printed.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith(words)]
    return shlex.split(lines[number + 1])


def test_a_search_ends_with_its_cell_its_files_and_the_retraining(tmp_path, monkeypatch, capsys):
    assert call(["fit", *TINY_SEARCH, *folder(tmp_path)], monkeypatch) == 0
    printed = capsys.readouterr().out
    genotype = load_genotype(tmp_path / "genotype.json")
    assert printed.count("is the sum of") == 1
    rows = [line.split(maxsplit=2) for line in printed.splitlines()]
    for name, cell in genotype.cells.items():
        for node in {edge.target for edge in cell.edges}:
            terms = ", ".join(f"{edge.operation}({edge.source})" for edge in cell.inbound(node))
            assert [name, str(node), terms] in [[*row[:2], row[-1].strip()] for row in rows if len(row) == 3]
    assert "0 and 1 are the inputs of a cell" in printed
    for name in ("genotype.json", "genotype.svg", "metrics.csv", "alphas.csv", "config.yaml", "last.ckpt"):
        assert name in printed
        assert list(tmp_path.rglob(name))
    assert re.search(r"val/accuracy +0\.\d{4}\b", printed)
    command = command_after(printed, "Retrain it")
    assert command[:2] == ["lit-nas", "fit"]
    plan = TrainingCLI(command[2:], run=False, parse_only=True).config
    assert plan.model.init_args.genotype == str(tmp_path / "genotype.json")
    assert plan.data.class_path.endswith("SyntheticDataModule")
    assert (plan.data.init_args.split, plan.data.init_args.batch_size) == ("half", 4)


def test_the_printed_retraining_is_that_of_the_network_that_a_target_was_for(tmp_path, monkeypatch, capsys):
    target = {"target": 30000, "network": "cifar", "init_channels": 8, "num_cells": 3}
    part = json.dumps([{"class_path": "CostTarget", "init_args": target}])
    arguments = [*TINY_SEARCH, *folder(tmp_path), "--model.optim.regularizers", part]
    assert call(["fit", *arguments], monkeypatch) == 0
    command = command_after(capsys.readouterr().out, "Retrain it")
    plan = TrainingCLI(command[2:], run=False, parse_only=True).config.model.init_args
    assert (plan.init_channels, plan.num_cells) == (8, 3)


@pytest.mark.parametrize("split", ["one-one-four", '{"weights": 0.5, "arch": 0.3, "val": 0.1}'])
def test_the_printed_retraining_does_not_test_on_what_the_search_trained_on(split, tmp_path, monkeypatch, capsys):
    arguments = [*TINY_SEARCH, *folder(tmp_path / "search"), "--data.split", split, "--data.split_seed", "3"]
    assert call(["fit", *arguments], monkeypatch) == 0
    command = command_after(capsys.readouterr().out, "Retrain it")
    assert command[-2:] == ["--trainer.default_root_dir", str(tmp_path / "search_retrain")]
    small = ["--model.init_channels", "4", "--model.num_cells", "3", "--trainer.max_epochs", "1"]
    assert main([*command[1:], *small, *folder(tmp_path / "retrain")]) == 0
    search, retrain = (
        json.loads((tmp_path / name / "split.json").read_text())["parts"] for name in ("search", "retrain")
    )
    assert retrain["test"] == search["test"]
    assert sorted(retrain["weights"]) == sorted(search["weights"] + search["arch"])


def test_a_retraining_ends_with_the_command_of_the_test(tmp_path, monkeypatch, capsys):
    small = ["--model.init_channels", "4", "--model.num_cells", "3"]
    data = [*TINY_SEARCH[8:], "--data.split", "all"]
    assert call(["fit", "--model", "RetrainModule", *small, *data, *folder(tmp_path)], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "DARTS_V2" in printed
    command = command_after(printed, "Test it")
    assert command[:2] == ["lit-nas", "test"]
    assert main(command[1:]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [line.split("│")[1].strip() for line in table] == ["test/accuracy", "test/loss", "test/top5_accuracy"]
    assert all(re.fullmatch(r"\d+\.\d{4}", line.split("│")[2].strip()) for line in table)
    assert main([*command[1:], "--verbose", "false"]) == 0
    assert "test/accuracy" not in capsys.readouterr().out
    assert main(["validate", *command[2:], "--data.validate_on_test", "true"]) == 0
    assert re.search(r"val/accuracy +│ 0\.\d{4} │", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("data", "space", "layers"),
    [
        ("CIFAR10DataModule", "darts", ["retrain/cifar.yaml"]),
        ("CIFAR100DataModule", "darts", ["retrain/cifar.yaml", "layers/data/cifar100.yaml"]),
        ("SVHNDataModule", "darts", ["retrain/cifar.yaml", "layers/data/svhn.yaml"]),
        ("CIFAR10DataModule", "nas_bench_201", ["retrain/nas_bench_201.yaml"]),
        ("CIFAR100DataModule", "nas_bench_201", ["retrain/nas_bench_201.yaml", "layers/data/cifar100.yaml"]),
        ("CIFAR10DataModule", "space_of_a_package", []),
        ("DigitsDataModule", "darts", []),
        ("ImageFolderDataModule", "darts", []),
        ("SyntheticDataModule", "darts", []),
    ],
)
def test_retraining_configurations(data, space, layers, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert [path.as_posix() for path in find_layers(data, space)] == [f"configs/{layer}" for layer in layers]
    monkeypatch.chdir(tmp_path)  # an installed package without its checkout
    assert find_layers(data, space) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["fit", "-c", "a b.yaml"], "lit-nas fit -c 'a b.yaml' --ckpt_path last"),
        (["fit", "--ckpt_path", "x.ckpt", "-c", "a"], "lit-nas fit -c a --ckpt_path last"),
        (["fit", "--ckpt_path=x.ckpt", "-c", "a"], "lit-nas fit -c a --ckpt_path last"),
        (["run", "-c", "a"], "lit-nas run -c a"),
    ],
)
def test_resume_command(given, expected, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/lit-nas", *given])
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    assert resume_command() == expected
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert resume_command() == f"{expected}  # under torchrun, as before"


def bars(arguments):
    trainer = TrainingCLI(arguments, run=False).trainer
    return [type(one) for one in trainer.callbacks if isinstance(one, (RichProgressBar, TQDMProgressBar))]


def test_the_bar_of_the_user_wins(tmp_path):
    without = [word for word in TINY_SEARCH if word != "--trainer.enable_progress_bar" and word != "false"]
    assert bars([*without, *folder(tmp_path)]) == [ShowProgress]
    assert bars([*without, *folder(tmp_path), "--trainer.callbacks", "TQDMProgressBar"]) == [TQDMProgressBar]
    assert bars([*TINY_SEARCH, *folder(tmp_path)]) == []


def test_messages_of_others_are_dropped_or_said_once():
    unneeded = _Unneeded()

    def shown(message):
        return unneeded.filter(logging.LogRecord("x", logging.INFO, "", 0, message, None, None))

    for message in (
        "TPU available: False, using: 0",
        "Tip: try litlogger",
        "`Trainer.fit` stopped: `max_epochs=2` reached.",
    ):
        assert not shown(message)
    assert [shown("GPU available: True") for _ in range(3)] == [True, False, False]
    assert [shown("Seed set to 0"), shown("Seed set to 1"), shown("Seed set to 0")] == [True, True, False]
    assert [shown("other"), shown("other")] == [True, True]
    quiet()
    before = len(logging.getLogger("pytorch_lightning.utilities.rank_zero").filters)
    quiet()
    assert len(logging.getLogger("pytorch_lightning.utilities.rank_zero").filters) == before


def test_strides_that_are_the_same_are_not_warned_of():
    text = (
        "Grad strides do not match bucket view strides. This is not an error.\ngrad.sizes() = [32, {}, 5, 5], strides()"
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quiet()
        warnings.warn(text.format(1), stacklevel=1)  # depthwise
        warnings.warn(text.format(16), stacklevel=1)
        warnings.warn("The number of training batches (2) is smaller than the logging interval", stacklevel=1)
    assert [str(warning.message) for warning in seen] == [text.format(16)]


def test_nothing_is_suggested_where_a_space_has_no_retraining_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SPACES, "darts", replace(SPACES["darts"], retrain={}))
    assert call(["fit", *TINY_SEARCH, *folder(tmp_path)], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "genotype.json" in printed
    assert "Retrain it" not in printed


OF_A_SPACE = {
    "darts": "DARTS-first-order",
    "nas_bench_201": "DARTS-nas-bench-201",
    "mobile": "ProxylessNAS-mobile",
    "dags": "FaDE",
    "gdas": "GDAS-frc",
}
LIMITS = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]


def test_every_space_that_can_be_retrained_has_a_search_here():
    own = {name for name, row in SPACES.items() if row.retrain and row.space.__module__.startswith("lit_nas.")}
    assert own == {*OF_A_SPACE, "recurrent"}  # the last one below


def test_the_printed_retraining_of_a_language_model_works(tmp_path, monkeypatch, capsys):
    data = [
        "--data",
        "TextFolderDataModule",
        "--data.root",
        str(write_texts(tmp_path / "text")),
        "--data.batch_size",
        "4",
        "--data.test_batch_size",  # for the search, whose network normalises by its batch
        "4",
    ]
    model = ["--model", "RecurrentDARTS", "--model.space.width", "6", "--model.space.nodes", "2"]
    run = [*model, *data, *LIMITS, "--trainer.accelerator", "cpu", *folder(tmp_path / "search")]
    assert call(["fit", *run], monkeypatch) == 0
    printed = capsys.readouterr().out
    assert re.search(r"│ val/perplexity +\d+\.\d{4}\b", printed)
    command = command_after(printed, "Retrain it")
    assert command[1:4] == ["fit", "--model", "LanguageRetrainModule"]
    assert "--data.test_batch_size" not in command
    assert main([*command[1:], *LIMITS, "--trainer.accelerator", "cpu", "--model.width", "6"]) == 0
    checkpoint = read_checkpoint(tmp_path / "search_retrain" / "checkpoints" / "last.ckpt")
    found = load_genotype(tmp_path / "search" / "genotype.json")
    assert checkpoint["lit_nas"]["genotype"]["cells"] == found.to_dict()["cells"]


@pytest.mark.parametrize("space", [pytest.param(s, marks=() if s == "dags" else pytest.mark.slow) for s in OF_A_SPACE])
def test_the_printed_retraining_works_in_every_space(space, tmp_path, monkeypatch, capsys):
    config = write_config(OF_A_SPACE[space], tmp_path / "in.yaml")
    assert call(["fit", "-c", str(config), *LIMITS, *folder(tmp_path / "search")], monkeypatch) == 0
    command = command_after(capsys.readouterr().out, "Retrain it")
    # the last argument names a folder that holds nothing yet
    assert command[-2:] == ["--trainer.default_root_dir", str(tmp_path / "search_retrain")]
    assert main([*command[1:], *LIMITS, "--trainer.accelerator", "cpu"]) == 0
    checkpoint = read_checkpoint(tmp_path / "search_retrain" / "checkpoints" / "last.ckpt")
    found = load_genotype(tmp_path / "search" / "genotype.json")
    assert found.space == space
    assert checkpoint["lit_nas"]["genotype"]["cells"] == found.to_dict()["cells"]
    if space in ("dags", "mobile"):  # with the widths that were searched, not those of the paper
        made = checkpoint["lit_nas"]["init_args"]["network"]["init_args"]["space"]["init_args"]
        assert list(made["widths"]) == ([2, 4, 3] if space == "dags" else [6, 8])
    capsys.readouterr()
    assert (
        call(["fit", "-c", str(config), *LIMITS, *folder(tmp_path / "search"), "--ckpt_path", "last"], monkeypatch) == 0
    )
    assert command_after(capsys.readouterr().out, "Retrain it")[-1] == str(tmp_path / "search_retrain_2")
