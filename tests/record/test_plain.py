"""Constructor calls as plain data."""

from functools import partial
from pathlib import Path

import pytest
import torch

from lit_nas.data import SyntheticDataModule
from lit_nas.derivation import TopEdges
from lit_nas.methods import DARTS, EntmaxDARTS
from lit_nas.optim import DartsSGD
from lit_nas.record.plain import default_arguments, differences, plain
from lit_nas.regularizers import ExpectedCost, ZeroOne
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from lit_nas.specs import ImageSpec


def test_parts_become_mappings():
    task = {"class_path": "lit_nas.tasks.Classification", "init_args": {}}
    assert plain(ImageSpec(1, 2, 3, 4)) == {"channels": 1, "height": 2, "width": 3, "classes": 4, "task": task}
    assert plain(TopEdges(k=3)) == {
        "class_path": "lit_nas.derivation.TopEdges",
        "init_args": {"k": 3, "exclude": ["none"], "by": "probability", "sums_copies": False},
    }
    optim = plain(SearchOptim(weights=partial(torch.optim.SGD, lr=0.1)))
    assert optim["weights"] == {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    assert optim["arch"] == {"class_path": "lit_nas.optim.DartsAdam"}
    assert plain({"a": [Path("b"), (1, None)]}) == {"a": ["b", [1, None]]}


@pytest.mark.parametrize("value", [lambda x: x, partial(DartsSGD, [1]), object()])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(TypeError, match="cannot be written into a checkpoint"):
        plain(value)


def call(owner, **arguments):
    return {"class_path": owner, "init_args": arguments}


def test_differences_are_named_as_they_are_written():
    old = {
        "seed": 1,
        "model": call("lit_nas.methods.DARTS", order=1, optim={"weights": call("torch.optim.SGD", lr=0.1)}),
    }
    new = {
        "seed": 1,
        "model": call("lit_nas.methods.DARTS", order=2, optim={"weights": call("torch.optim.SGD", lr=0.2)}),
    }
    assert differences(old, old) == []
    assert differences(old, new) == [("model.order", 1, 2), ("model.optim.weights.lr", 0.1, 0.2)]
    assert str(differences(old, new)[1]) == "model.optim.weights.lr: 0.1 -> 0.2"
    assert differences({"split": {"weights": 0.5}}, {"split": {"weights": 0.5, "val": 0.5}}) == [
        ("split.val", None, 0.5)
    ]
    assert differences({"split": "half"}, {"split": {"weights": 0.5}}) == [("split", "half", {"weights": 0.5})]
    assert differences({"betas": (1, 2)}, {"betas": [1.0, 2]}) == []


def test_a_key_that_is_missing_has_its_default():
    short, full = call("lit_nas.methods.DARTS"), call("lit_nas.methods.DARTS", **default_arguments(DARTS))
    assert differences({"model": short}, {"model": full}) == differences({"model": full}, {"model": short}) == []
    full["init_args"]["optim"]["clip"] = 1.0
    assert differences({"model": short}, {"model": full}) == [("model.optim.clip", 5.0, 1.0)]
    # of a base class to which the class hands its arguments on
    other = call("lit_nas.data.SyntheticDataModule", batch_size=3, seed=0)
    assert differences(call("lit_nas.data.SyntheticDataModule"), other, key="data") == [("data.batch_size", 64, 3)]
    assert default_arguments(SyntheticDataModule)["num_images"] == 512
    assert default_arguments(EntmaxDARTS)["optim"]["level"] == "single"
    # and where no class says so, None
    assert differences({}, {"a": None}) == []
    assert differences({}, {"a": 3}, {"a": 3}) == []


def test_a_class_is_the_same_under_both_of_its_names():
    old, new = call("lit_nas.methods.darts.DARTS", order=1), call("lit_nas.methods.DARTS", order=1)
    assert differences(old, new) == []
    assert differences(call("torch.optim.sgd.SGD", lr=1), call("torch.optim.SGD", lr=2), key="optim") == [
        ("optim.lr", 1, 2)
    ]
    assert differences(new, call("lit_nas.methods.EntmaxDARTS", order=1), key="model") == [
        ("model", "lit_nas.methods.DARTS", "lit_nas.methods.EntmaxDARTS")
    ]
    assert differences(call("nowhere.A"), new, key="m") == [("m", "nowhere.A", "lit_nas.methods.DARTS")]


def test_parts_in_a_list_differ_by_place():
    def made(*parts):
        return {"optim": {"parts": [plain(part) for part in parts]}}

    old, new = made(ZeroOne(), ExpectedCost()), made(ZeroOne(Constant(5.0)), ExpectedCost(measure="multiply_adds"))
    assert list(map(str, differences(old, new))) == [
        "optim.parts.0.strength.value: 10.0 -> 5.0",
        "optim.parts.1.measure: 'parameters' -> 'multiply_adds'",
    ]
    assert differences(old, made(ZeroOne(form="square"), ExpectedCost())) == []
    (other,) = differences(old, made(ExpectedCost(), ExpectedCost()))
    assert str(other) == "optim.parts.0: 'lit_nas.regularizers.ZeroOne' -> 'lit_nas.regularizers.ExpectedCost'"
    (longer,) = differences(old, made(ZeroOne()))
    assert longer.key == "optim.parts"
    short = {"optim": {"parts": [{"class_path": "lit_nas.regularizers.ZeroOne"}, {**plain(ExpectedCost())}]}}
    assert differences(old, short) == []  # what is left out has its default
