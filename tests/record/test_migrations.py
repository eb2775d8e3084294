"""Checkpoints of earlier releases are read, rebuilt and continued.

`checkpoints/version_N_*.ckpt` were written by a release with that format, on SIGTERM within the second epoch of the
configurations beside them.
"""

import copy
from pathlib import Path

import pytest
import torch

from lit_nas.methods import EntmaxDARTS
from lit_nas.record.migrations import FORMAT_VERSION, MIGRATIONS, migrate
from lit_nas.record.names import import_class
from lit_nas.record.recorded_module import load_module, read_checkpoint
from lit_nas.retrain import RetrainModule
from lit_nas.specs import ImageSpec
from tests.support.resume_job import differences, final_state, run

FOLDER = Path(__file__).parents[1] / "resume" / "checkpoints"
KINDS = pytest.mark.parametrize("kind", ["search", "retraining"])
CLOCK = ("step", "epoch", "total_steps", "total_epochs")
VERSIONS = pytest.mark.parametrize("version", range(1, FORMAT_VERSION))


def test_every_version_has_its_step():
    assert list(MIGRATIONS) == list(range(1, FORMAT_VERSION))
    for version in MIGRATIONS:
        assert list(FOLDER.glob(f"version_{version}_*.ckpt"))


@KINDS
@VERSIONS
def test_an_older_checkpoint_is_rebuilt(kind, version):
    path = FOLDER / f"version_{version}_{kind}.ckpt"
    saved = torch.load(path, weights_only=True)
    assert saved["lit_nas"]["version"] == version
    module = load_module(path)
    assert type(module) is {"search": EntmaxDARTS, "retraining": RetrainModule}[kind]
    found, progress = dict(module.state_dict()), saved["state_dict"].pop("architecture.progress", None)
    seed = found.pop("architecture.seed", None)
    clock = {name: found.pop(f"architecture.clock.{name}") for name in CLOCK if progress is not None}
    assert differences(saved["state_dict"], found) == []
    if kind == "search":  # the number of batches is known since version 2
        assert seed == 5
        steps = 1 if version == 1 else 12
        assert clock == {"step": steps * progress, "epoch": 3 * progress, "total_steps": steps, "total_epochs": 3}
        torch.testing.assert_close(module.architecture.clock.progress, progress, rtol=0, atol=1e-15)
    record = read_checkpoint(path)["lit_nas"]
    assert record["version"] == FORMAT_VERSION
    assert record["run"]["trainer"]["max_epochs"] == 3
    # version 1 saved no settings: the genotype of a search tells the seed, a retraining has none
    assert record["run"].get("seed_everything") == (5 if kind == "search" or version > 1 else None)
    assert record["init_args"]["spec"] == {"channels": 2, "height": 8, "width": 8, "classes": 3}
    assert module.spec == ImageSpec(2, 8, 8, 3)
    assert record["genotype"] == saved["lit_nas"]["genotype"]


@KINDS
@pytest.mark.parametrize(
    "version",
    [1, *(pytest.param(version, marks=pytest.mark.slow) for version in range(2, FORMAT_VERSION))],  # 1 takes all steps
)
def test_an_older_checkpoint_is_continued(kind, version, tmp_path):
    arguments = ["fit", "-c", str(FOLDER / f"version_{version}_{kind}.yaml"), "--trainer.default_root_dir"]
    assert run([*arguments, str(tmp_path / "whole")]) == 0
    part = tmp_path / "part"
    last = ["--ckpt_path", str(FOLDER / f"version_{version}_{kind}.ckpt")]
    assert run([*arguments, str(part), *last]) == 0
    assert int((part / "steps.txt").read_text()) == 6
    whole, continued = (final_state(folder)["checkpoint"] for folder in (tmp_path / "whole", part))
    assert continued["lit_nas"]["version"] == FORMAT_VERSION
    assert differences(whole["loops"], continued["loops"]) == []
    for key, value in whole["state_dict"].items():  # another processor rounds in another way
        torch.testing.assert_close(continued["state_dict"][key], value, rtol=1e-3, atol=1e-4, msg=key)
    assert run([*arguments, str(tmp_path / "longer"), *last, "--trainer.max_epochs", "4"]) == 2


def test_a_migration_leaves_its_argument_as_it_is():
    saved = torch.load(FOLDER / "version_1_search.ckpt", weights_only=True)
    saved["callbacks"]["KeepRandomState"]["ranks"][0]["cuda"] = [torch.tensor([1]), torch.tensor([2])]
    second = copy.deepcopy(saved["callbacks"]["KeepRandomState"]["ranks"][0])
    saved["callbacks"]["KeepRandomState"]["ranks"].append(second)
    before = copy.deepcopy(saved)
    found = migrate(saved)
    assert differences(before, saved) == []
    # a rank has the generator of its own GPU, not those of all
    assert [rank["cuda"].item() for rank in found["callbacks"]["KeepRandomState"]["ranks"]] == [1, 2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lit_nas.methods.darts.DARTS", "lit_nas.methods.DARTS"),
        ("lit_nas.optim.recipes.DartsSGD", "lit_nas.optim.DartsSGD"),
        ("torch.optim.sgd.SGD", "torch.optim.SGD"),
        ("torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.StepLR"),
        ("my.own.package.Part", "my.own.package.Part"),
    ],
)
def test_names_of_version_1_become_public(old, new):
    record = {
        "version": 1,
        "class_path": "lit_nas.evaluate.EvaluationModule",
        "init_args": {"a": [{"class_path": old}]},
    }
    found = migrate({"lit_nas": record})["lit_nas"]
    assert found["init_args"]["a"][0]["class_path"] == new
    assert import_class(found["class_path"]) is RetrainModule
    if not new.startswith("my."):
        assert import_class(new) is import_class(old)


@pytest.mark.parametrize(
    ("version", "message"), [(0, "from 1 on"), (None, "from 1 on"), (FORMAT_VERSION + 1, "upgrade")]
)
def test_unknown_versions_are_refused(version, message):
    with pytest.raises(ValueError, match=message):
        migrate({"lit_nas": {"version": version}})
