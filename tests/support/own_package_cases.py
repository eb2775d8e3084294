"""The package of docs/extend.md: search, derivation, retraining and resume with parts of one's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.record.recorded_module import load_module, read_checkpoint
from tests.support.own_modules import forgotten
from tests.support.resume_job import differences, final_state, run

PACKAGE = Path(__file__).parents[2] / "docs" / "examples"
TRAINER = {"accelerator": "cpu", "max_epochs": 2, "enable_progress_bar": False, "enable_model_summary": False}
OPTIM = {"auxiliary_weight": 0.0}
LADDER = {"class_path": "own_parts.space.LadderSpace", "init_args": {"width": 4, "rungs": 2}}


def search(what="class", model="DARTS", space=None, **arguments):
    space = LADDER if space is None else space
    return {
        "model": {"class_path": model, "init_args": {"space": space, **arguments}},
        "data": {"class_path": "own_parts.data.OwnDigits", "init_args": {"what": what, "images": 120, "batch_size": 8}},
        "trainer": {**TRAINER, "callbacks": [{"class_path": "SaveCheckpoints", "init_args": {"every_n_steps": 2}}]},
    }


def retraining(network=None, what="class"):
    network = network or {
        "class_path": "own_parts.space.LadderNetwork",
        "init_args": {"init_channels": 4, "num_cells": 2},
    }
    return {"model": {"class_path": "RetrainModule", "init_args": {"network": network, "optim": OPTIM}}}


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    monkeypatch.syspath_prepend(PACKAGE)
    monkeypatch.delenv("LIT_NAS_IMPORT", raising=False)
    with forgotten("own_parts"):
        yield


def written(path, content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


def command(folder, *words):
    """Runs a command in a fresh process, in the folder that holds the package."""
    code = "import sys, warnings; warnings.simplefilter('ignore'); from lit_nas.cli import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, cwd=PACKAGE, timeout=250
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"what": "class", "model": "own_parts.method.Alternate"},
        {"what": "labels", "relaxation": {"class_path": "own_parts.relaxation.Cooling"}},
        {"what": "numbers", "edges": {"class_path": "own_parts.edge.ScaledEdges"}},
        {"what": "pixels", "model": "own_parts.method.Alternate"},
    ],
    ids=lambda arguments: arguments["what"],
)
def test_a_search_that_dies_continues_bit_identically(arguments, tmp_path):
    config = written(tmp_path / "in.yaml", search(**arguments))
    fit = ["fit", "-c", config, "--seed_everything", "3", "--trainer.default_root_dir"]
    assert run([*fit, str(tmp_path / "whole")]) == 0
    assert run([*fit, str(tmp_path / "cut")], "SIGKILL", 5) == -9
    assert run([*fit, str(tmp_path / "cut"), "--ckpt_path", "last"]) == 0
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "cut")) == []


@pytest.mark.parametrize(
    "what", ["class", *(pytest.param(each, marks=pytest.mark.slow) for each in ("labels", "numbers", "pixels"))]
)
def test_a_job_searches_derives_retrains_and_goes_on(what, tmp_path):
    """With a space, an operation, data and (but for classes) a task that are none of the image data of lit-nas."""
    shared = {key: value for key, value in search(what).items() if key in ("data", "trainer")}
    content = {
        "folder": str(tmp_path / "job"),
        **shared,
        "search": {"model": search()["model"]},
        "retrain": retraining(),
    }
    config = written(tmp_path / "job.yaml", content)
    status, _, errors = command(tmp_path, "run", "-c", config, "--executor", "InThisProcess")
    assert status == 0, errors
    results = json.loads((tmp_path / "job" / "results.json").read_text())
    assert results["genotype"]["meta"]["modules"][-1] == "own_parts.space"
    named = {"class": "accuracy", "labels": "f1", "numbers": "mae", "pixels": "iou"}[what]
    assert 0 <= results[f"test_{named}"] < 10
    assert results["test_loss"] > 0
    status, out, errors = command(tmp_path, "run", "-c", config, "--executor", "InThisProcess")  # finished already
    assert status == 0, errors
    assert "finished before" in out
    record = read_checkpoint(tmp_path / "job" / "retrain" / "checkpoints" / "last.ckpt")["lit_nas"]
    task = record["init_args"]["spec"]["task"]["class_path"]
    kinds = {"class": "Classification", "labels": "MultiLabel", "numbers": "Regression", "pixels": "Segmentation"}
    assert task == f"lit_nas.tasks.{kinds[what]}"
    module = load_module(tmp_path / "job" / "retrain" / "checkpoints" / "last.ckpt", trust=("own_parts",))
    assert module(torch.zeros(2, 1, 8, 8)).shape[0] == 2


@pytest.mark.slow
def test_operations_of_a_genotype_are_imported_where_the_user_says_so(tmp_path):
    """No file has anything imported; messages name the module, and `--import` brings it in, in each command."""
    space = {"class_path": "DartsSpace", "init_args": {
        "init_channels": 4, "num_cells": 3, "nodes": 1, "operations": ["none", "squeeze_conv_3x3"],
    }}  # fmt: skip
    config = written(tmp_path / "in.yaml", search(space=space))
    fit = ["fit", "-c", config, "--trainer.default_root_dir", tmp_path / "run", "--trainer.max_epochs", "1"]
    status, _, errors = command(tmp_path, *fit)
    assert status == 2
    assert "Unknown operations ['squeeze_conv_3x3']" in errors
    status, _, errors = command(tmp_path, *fit, "--import", "own_parts.operation")
    assert status == 0, errors
    genotype = tmp_path / "run" / "genotype.json"
    assert json.loads(genotype.read_text())["meta"]["modules"] == ["own_parts.operation"]
    for words in (["describe", genotype], ["fit", "--model", "RetrainModule", "--model.genotype", genotype]):
        status, _, errors = command(tmp_path, *words, *(["--data", "DigitsDataModule"] if words[0] == "fit" else []))
        assert status == 2
        assert "It was found with own_parts.operation, which has not been imported: add `--import own" in errors
    small = ["--init_channels", "4", "--num_cells", "3"]
    status, out, errors = command(tmp_path, "describe", genotype, *small, "--import=own_parts.operation")
    assert (status, "cifar" in out) == (0, True), errors
    status, _, errors = command(tmp_path, "describe", genotype, "--import", "own_parts.nothing")
    assert status == 2
    assert "--import own_parts.nothing: there is no such module" in errors
    assert "--import needs the dotted name of a module" in command(tmp_path, "describe", genotype, "--import")[2]


def test_a_task_of_ones_own_trains(tmp_path):
    from own_parts.data import OwnDigits
    from own_parts.space import LadderNetwork, LadderSpace
    from own_parts.task import Ordinal
    from pytorch_lightning import Trainer

    from lit_nas.methods import DARTS
    from lit_nas.retrain import RetrainModule, RetrainOptim
    from lit_nas.specs import ImageSpec

    class Ordered(OwnDigits):
        @property
        def spec(self):
            return ImageSpec(1, 8, 8, 10, Ordinal())

    settings = {**TRAINER, "logger": False, "enable_checkpointing": False}
    data, network = Ordered(images=90, batch_size=8), LadderNetwork(4, 2)
    model = DARTS(data.spec, LadderSpace(4, 2))
    trainer = Trainer(**settings, default_root_dir=tmp_path)
    trainer.fit(model, data)
    assert 0 <= trainer.callback_metrics["val/distance"] <= 9
    final = RetrainModule(model.derive(), data.spec, network, optim=RetrainOptim(auxiliary_weight=0.0))
    trainer = Trainer(**settings, default_root_dir=tmp_path)
    trainer.fit(final, data)
    (scores,) = trainer.test(final, data, verbose=False)
    assert 0 <= scores["test/distance"] <= 9
    with pytest.raises(
        ValueError, match=r"The network was built for ImageSpec.*Ordinal\(\)\), but OwnDigits hands over"
    ):
        Trainer(**settings).fit(final, OwnDigits(images=90, batch_size=8))


def test_the_method_is_short_and_a_loader_of_torch_does(tmp_path):
    from own_parts.method import Alternate
    from own_parts.space import LadderSpace
    from pytorch_lightning import Trainer
    from torch.utils.data import DataLoader, TensorDataset

    from lit_nas.specs import ImageSpec
    from lit_nas.tasks import Segmentation

    assert len((PACKAGE / "own_parts" / "method.py").read_text().splitlines()) < 60
    spec = ImageSpec(1, 8, 8, 2, Segmentation())
    pairs = TensorDataset(torch.randn(16, 1, 8, 8), torch.randint(2, (16, 8, 8)))
    loaders = {role: DataLoader(pairs, 4, shuffle=True) for role in ("weights", "arch")}
    model = Alternate(spec, LadderSpace(4, 2))
    before = model.architecture.logits["rung"].detach().clone()
    Trainer(**TRAINER, logger=False, enable_checkpointing=False).fit(model, loaders, DataLoader(pairs, 4))
    assert not torch.equal(before, model.architecture.logits["rung"])
    with pytest.raises(ValueError, match=r"model.every must be at least 1, not 0"):
        Alternate(spec, LadderSpace(4, 2), every=0)
