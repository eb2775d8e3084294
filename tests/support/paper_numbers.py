"""What configurations must state: `EXPECTED` of the test files of methods and spaces, which this module collects.

A key of `EXPECTED` is a configuration, or several that are laid over each other, in their order, joined by " + ". Its
value holds resolved settings by dotted keys without `init_args`; a class is the pair of its name and of the arguments
that matter.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import tests.methods
import tests.spaces

__all__ = ("DARTS_SEARCH", "all_expected", "by_owner", "differing", "setting")

CIFAR_AUGMENTATION = {"crop_padding": 4, "flip": True, "cutout": 0, "auto_augment": False}

DARTS_SEARCH: dict[str, Any] = {  # DARTS, appendix A.1, which most later papers take over
    "trainer.max_epochs": 50,
    "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "half", "split_seed": None}),
    "data.augmentation": CIFAR_AUGMENTATION,  # no cutout
    "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 8, "nodes": 4}),
    "model.optim.level": "bilevel",
    "model.optim.weights": (
        "DartsSGD",
        {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False},
    ),
    "model.optim.schedule": ("SearchCosineLR", {"lr_min": 0.001}),
    "model.optim.arch": ("DartsAdam", {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
    "model.optim.clip": 5.0,
    "model.optim.arch_from_epoch": 0,
}


def by_owner() -> dict[str, dict[str, dict[str, Any]]]:
    """`EXPECTED` of each test file of a method or a space that has one."""
    found = {}
    for package in (tests.methods, tests.spaces):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2].startswith("test_"):
                expected = getattr(import_module(module.name), "EXPECTED", None)
                if expected is not None:
                    found[module.name] = expected
    return found


def all_expected() -> dict[str, dict[str, Any]]:
    """What is expected of each configuration, from all files; two files must not claim the same one."""
    merged: dict[str, dict[str, Any]] = {}
    for owner, expected in by_owner().items():
        assert not merged.keys() & expected.keys(), f"{owner} repeats {sorted(merged.keys() & expected.keys())}"
        merged |= expected
    return merged


def setting(config: Mapping[str, Any], key: str) -> Any:
    """The value of a resolved configuration under a dotted key; a class as (name, arguments)."""
    value: Any = config
    for part in key.split("."):
        value = value[part] if "class_path" not in value else value["init_args"][part]
    if isinstance(value, Mapping) and "class_path" in value:
        return value["class_path"].rpartition(".")[2], value.get("init_args", {})
    return value


def differing(config: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings that are not what is expected: key -> (stated, expected)."""
    wrong = {}
    for key, wanted in expected.items():
        stated = setting(config, key)
        if isinstance(wanted, tuple):
            stated = (stated[0], {name: stated[1].get(name) for name in wanted[1]})
        if stated != wanted:
            wrong[key] = (stated, wanted)
    return wrong
