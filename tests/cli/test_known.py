"""What a configuration may name."""

from torch.optim import Optimizer

import lit_nas.callbacks
import lit_nas.data
import lit_nas.derivation
import lit_nas.engine
import lit_nas.methods
from lit_nas.cli.known import classes_of, guess, known_classes, parameters_of
from lit_nas.data import CIFAR10DataModule, ImageDataModule
from lit_nas.derivation import Deriver
from lit_nas.optim import DartsAdam, OptimizerCallable
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.spaces import SearchSpace


def test_guess():
    assert guess("lrr", ["lr", "betas"]) == " (did you mean `lr`?)"
    assert guess("xyz", ["lr", "betas"]) == ""


def test_classes_of_an_annotation():
    assert classes_of(Deriver | None) == [Deriver]
    assert classes_of(OptimizerCallable) == [Optimizer]
    assert classes_of(list[SearchSpace] | dict[str, int]) == [SearchSpace]
    assert classes_of(None) == []


def test_known_classes_are_those_for_users():
    spaces = ["DagSpace", "DartsSpace", "GDASSpace", "MobileSpace", "NasBench201Space", "RecurrentSpace"]
    assert known_classes(SearchSpace) == spaces
    assert set(lit_nas.methods.__all__) <= set(known_classes(RecordedModule))
    assert "RecordedModule" not in known_classes(RecordedModule)
    assert "ImageDataModule" not in known_classes(ImageDataModule)
    assert {"DartsAdam", "DartsSGD"} <= set(known_classes(OptimizerCallable))


def test_parameters_reach_through_keywords():
    names = list(parameters_of(CIFAR10DataModule))
    assert names[:2] == ["root", "download"]
    assert {"split", "batch_size", "augmentation"} <= set(names)
    assert not {"common", "self"} & set(names)
    assert list(parameters_of(DartsAdam)) == ["params", "lr", "betas", "eps", "weight_decay"]
    assert parameters_of(None) == {}
