"""What newcomers ran into: mistakes that are named with their key, file or option, before anything is trained."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.architecture import Architecture
from lit_nas.cli import main
from lit_nas.cli.job import plan_job
from lit_nas.cli.parts import chosen
from lit_nas.jobs import InThisProcess, Job, Processes, PseudoGradient, RandomSteps, SearchThenRetrain
from lit_nas.methods import DARTS
from lit_nas.relaxations import Entmax, Relaxation, Softmax
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.spaces.candidates import Candidates
from tests.search.test_search_module import fit
from tests.support.tiny import INPUTS, SPACE
from tests.test_configs import SYNTHETIC

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


@dataclass(frozen=True)
class Detached(Relaxation):
    """A softmax that autograd cannot see through."""

    def probabilities(self, logits, mask, clock):
        return logits.detach().softmax(-1) * mask


@dataclass(frozen=True)
class Hard(Relaxation):
    """The largest parameter, which has a gradient of zero."""

    def probabilities(self, logits, mask, clock):
        one = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
        return one * (1 + 0 * logits) * mask


@pytest.mark.parametrize("relaxation", [Detached(), Hard()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("level", ["bilevel", "single"])
def test_a_relaxation_without_a_gradient_is_noticed(relaxation, level):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(level=level), relaxation=relaxation)
    message = f"model.relaxation {type(relaxation).__name__} gives the architecture no gradient: its mixing weights"
    with pytest.raises(ValueError, match=message):
        fit(module, steps=1)


def test_a_search_that_has_decided_is_fitted_again():
    module = DARTS(INPUTS, SPACE, relaxation=Entmax(2.0))
    decided = {
        name: 9.0 * torch.eye(8)[torch.arange(len(logits)) % 8] for name, logits in module.architecture.logits.items()
    }
    for name, logits in module.architecture.logits.items():
        logits.data.copy_(decided[name])
    fit(module, steps=1)
    assert module.trainer.global_step
    for name, weights in module.architecture.probabilities().items():
        assert torch.equal(weights, decided[name] / 9), "parameters without a gradient stay where they are"


def test_one_candidate_on_each_edge_needs_no_gradient():
    edges = [["skip_connect"]] * 5
    space = DartsSpace(2, 3, 2, candidates={"normal": edges, "reduce": edges})
    module = DARTS(INPUTS, space)
    fit(module, steps=1)
    names = {edge.operation for cell in module.derive().cells.values() for edge in cell.edges}
    assert module.trainer.global_step
    assert names == {"skip_connect"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search/pc_darts.yaml", "--model.edges.k", "four"], "model.edges.k is 'four', but must be a whole number."),
        (
            ["search/darts.yaml", "--model.relaxation", "Entmax", "--model.relaxation.start", "high"],
            "model.relaxation.start is",
        ),
        (
            ["search/mergenas.yaml", "--model.edges", "PartialChannels"],
            "model.edges is PartialChannels, which is no MergedConvolutions. Those of lit-nas are: MergedConvolutions.",
        ),
    ],
)
def test_a_value_of_another_type_is_named_with_its_key(arguments, message, capsys):
    config, *rest = arguments
    assert main(["fit", "-c", f"configs/{config}", *SYNTHETIC, *rest]) == 2
    assert message in capsys.readouterr().err


def candidates(path, space, **changes):
    Candidates.of(Architecture(space, Softmax())).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (NasBench201Space(), {}, "does not fit: they are those of the space 'nas_bench_201', not of 'darts'"),
        (DartsSpace(), {"format": "other"}, "is not a file of candidates: its format is not 'lit-nas candidates'"),
        (DartsSpace(), {"version": 7}, "is not a file of candidates: its version is 7"),
        (
            DartsSpace(operations=("none", "nor_conv_1x1")), {},
            "does not fit: it names nor_conv_1x1, which space.operations does not have: none, max_pool_3x3",
        ),
    ],
)  # fmt: skip
def test_candidates_of_another_space_are_named_with_their_file(space, changes, message, tmp_path, capsys):
    path = candidates(tmp_path / "candidates.json", space, **changes)
    assert main(["fit", "-c", "configs/search/darts.yaml", *SYNTHETIC, "--model.space.candidates", str(path)]) == 2
    found = capsys.readouterr().err
    assert f"'{path}' {message}" in found


CORRELATE = ["correlate", "-c", "configs/search/stacnas.yaml", *SYNTHETIC, "--untrained", "--images", "4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--groups", "99"], "--groups is 99, but only"),
        (["--groups", "2", "--threshold", "0.5"], "--threshold and --groups exclude each other"),
        (["--threshold", "2"], "--threshold must lie between -1 and 1"),
        (["--exclude", "nor_conv_1x1"], "--exclude names nor_conv_1x1, which the space 'darts' does not have"),
    ],
)
def test_correlate_names_its_own_options_before_it_looks_at_images(arguments, message, tmp_path, capsys, monkeypatch):
    def never(*arguments):
        raise AssertionError("no image is looked at")

    monkeypatch.setattr("lit_nas.callbacks.group_operators", never)
    assert main([*CORRELATE, *arguments, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


SECTIONS = {"folder": "job", "search": {"model": {"class_path": "DARTS"}}, "retrain": {"model": "RetrainModule"}}


def plan(*words, **content):
    return plan_job([(Path("job.yaml"), {**SECTIONS, **content})], words, None, None)


def test_an_executor_and_keys_within_keys_are_named_on_the_command_line():
    assert plan().executor == Processes()
    assert plan("--executor", "InThisProcess").executor == InThisProcess()
    assert plan("--executor=InThisProcess", executor={"class_path": "Processes"}).executor == InThisProcess()
    same = {"class_path": "Processes", "init_args": {"parallel": 3}}
    assert plan("--executor", "Processes", executor=same).executor == Processes(parallel=3)
    walk = {"class_path": "OuterSearch", "init_args": {"strategy": "PseudoGradient"}}

    def job(**overrides):
        return chosen(
            [{"job": walk}], "job", Job, SearchThenRetrain, {k.replace("__", "."): v for k, v in overrides.items()}
        )

    assert job(strategy__step=0.5, strategy__gamma=0.2).strategy == PseudoGradient(step=0.5, gamma=0.2)
    assert job(strategy="RandomSteps").strategy == RandomSteps()
    with pytest.raises(ValueError, match=r"job\.strategy\.steps is unknown \(did you mean `step`\?\)"):
        job(strategy__steps=1)
    with pytest.raises(ValueError, match=r"job\.seeds is 3, which has no key `first`: set job\.seeds as a whole"):
        job(seeds=3, seeds__first=1)
    with pytest.raises(ValueError, match="--executor lacks a class or a key: write `--executor CLASS`"):
        plan("--executor")
    with pytest.raises(ValueError, match="There is no executor 'Nobody'"):
        plan("--executor", "Nobody")


def test_too_few_images_are_refused_before_the_first_stage(tmp_path, capsys):
    """Of the search itself, and of what is to look at them when it ends."""
    space = {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "num_cells": 3, "nodes": 2}}
    model = {"class_path": "DARTS", "init_args": {"space": space}}
    callbacks = [{"class_path": "CorrelateOperators", "init_args": {"images": 500}}]
    data = {"class_path": "SyntheticDataModule", "init_args": {"num_images": 40, "height": 8, "width": 8}}
    retrain = {"model": {"class_path": "RetrainModule"}}
    for name, search, message in (
        ("batch", {"data": {"init_args": {"batch_size": 30}}}, "data.batch_size is 30 but the part 'weights' has 20"),
        (
            "looked",
            {"data": {"init_args": {"batch_size": 4}}, "trainer": {"callbacks": callbacks}},
            "500 training images",
        ),
    ):
        content = {
            "folder": str(tmp_path / name),
            "data": data,
            "search": {"model": model, **search},
            "retrain": retrain,
        }
        content["trainer"] = {"accelerator": "cpu", "max_epochs": 1}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        assert main(["run", "-c", str(tmp_path / f"{name}.yaml")]) == 2
        found = capsys.readouterr().err
        assert message in found
        assert "section `search`" in found
        assert not (tmp_path / name / "search").exists()
