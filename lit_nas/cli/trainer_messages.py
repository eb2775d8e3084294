"""What Lightning says of its Trainer, and torch of what does not fit, as sentences about keys."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from lit_nas.cli.pattern import Pattern, translate

__all__ = ("TRAINER", "call_by_key", "check_trainer_keys", "translate_trainer")

_LEAST = {
    "check_val_every_n_epoch": 1, "log_every_n_steps": 0, "num_nodes": 1, "val_check_interval": 1e-9, "max_epochs": -1,
    "limit_train_batches": 0, "limit_val_batches": 0, "limit_test_batches": 0, "limit_predict_batches": 0,
}  # fmt: skip


def check_trainer_keys(given: Mapping[str, Any]) -> None:
    """Refuses what Lightning takes and fails on later, or refuses without naming the key.

    Args:
        given: Values for the Trainer.

    Raises:
        ValueError: naming key, value and what is allowed.
    """
    for name, least in _LEAST.items():
        value = given.get(name)
        if isinstance(value, (int, float)) and not value >= least:
            allowed = "positive" if least > 0 else f"at least {least}"
            raise ValueError(f"trainer.{name} is {value}, but must be {allowed}.")
        if name.startswith("limit_") and isinstance(value, float) and value > 1 and value % 1:
            raise ValueError(
                f"trainer.{name} is {value}, but must be a part between 0.0 and 1.0, or a whole number of batches."
            )
    folder = given.get("default_root_dir")
    for place in (Path(folder), *Path(folder).parents) if folder else ():
        if place.exists() and not place.is_dir():
            raise ValueError(f"trainer.default_root_dir is '{folder}', but '{place}' is a file. Name a folder.")


def translate_trainer(message: str, given: Mapping[str, Any]) -> str | None:
    """The sentence for a message of Lightning or torch; None for one that is not known.

    Args:
        message: What was said.
        given: Values given to the Trainer.
    """
    return translate(TRAINER, message, given)


def _accelerator(_: re.Match[str], given: Mapping[str, Any]) -> str:
    return (
        f"trainer.accelerator is {given.get('accelerator')!r}, but this machine has no such device that torch can use. "
        "Set trainer.accelerator to cpu or auto."
    )


def _devices(_: re.Match[str], given: Mapping[str, Any]) -> str:
    return (
        f"trainer.devices is {given.get('devices')!r}, but must be a positive number, a list of GPU numbers, or auto."
    )


def _number(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"trainer.{match[1]} is {match[2]}, but must be a whole number from 0 on, or -1 for no end."


def _seed(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"seed_everything is {match[1]}, but must be a whole number from 0 to {match[2]}."


def _profiler(_: re.Match[str], given: Mapping[str, Any]) -> str:
    return f"trainer.profiler is {given.get('profiler')!r}, but must be simple, advanced or pytorch."


def _time(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"trainer.max_time is {match[1]}, but must have the form DD:HH:MM:SS."


def _fast_dev_run(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"trainer.fast_dev_run is {match[1]}, but must be true, false or a number of batches from 0 on."


def _no_package(match: re.Match[str], given: Mapping[str, Any]) -> str:
    asks = f" (trainer.accelerator is {given['accelerator']!r})" if "torch_xla" in match[1] else ""
    return f"The package {match[1]} is missing{asks}: pip install '{match[1]}', or choose something else."


def _strategy(_: re.Match[str], given: Mapping[str, Any]) -> str:
    return (
        f"trainer.strategy is {given.get('strategy')!r}, which Lightning does not know. Known are for example auto, "
        "ddp and ddp_spawn."
    )


def _memory(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return (
        f"The network does not fit into the memory ({match.string.strip().splitlines()[0][:200]}). Use fewer channels, "
        "cells or classes: model.space.init_channels and num_cells in a search, model.init_channels and num_cells in a "
        "retraining."
    )


TRAINER = (
    Pattern(
        r"No supported gpu backend found|accelerator is not available|accelerator string is not supported"
        r"|invalid accelerator name",
        _accelerator,
        "No supported gpu backend found!",
    ),
    Pattern(
        r"`Trainer\(devices=.*\)` value is not a valid input|`devices` selected with .* should be",
        _devices,
        "`Trainer(devices='0')` value is not a valid input using cpu accelerator.",
    ),
    Pattern(
        r"`(max_epochs|max_steps|min_epochs|min_steps)` must be a non-negative.*You passed in (\S+?)\.?$",
        _number,
        "`max_epochs` must be a non-negative integer or -1. You passed in -2.",
    ),
    Pattern(
        r"(-?\d+) is not in bounds, numpy accepts from 0 to (\d+)",
        _seed,
        "-1 is not in bounds, numpy accepts from 0 to 4294967295",
    ),
    Pattern(
        r"string value for the `profiler` parameter",
        _profiler,
        "When passing string value for the `profiler` parameter of `Trainer`, it can only be one of ['simple']",
    ),
    Pattern(
        r"`Timer\(duration=(.*)\)` is not a valid duration",
        _time,
        "`Timer(duration='5')` is not a valid duration. Expected a string in the format DD:HH:MM:SS.",
    ),
    Pattern(
        r"fast_dev_run=(\S+) is not a valid configuration",
        _fast_dev_run,
        "fast_dev_run=-1 is not a valid configuration. It should be >= 0.",
    ),
    Pattern(r"Requirement '([^']+)' not met", _no_package, "Requirement 'torch_xla>=1.13' not met. HINT: Try running"),
    Pattern(r"invalid strategy name", _strategy, "You selected an invalid strategy name: `strategy='foo'`."),
    Pattern(
        r"can't allocate memory|not enough memory|Storage size calculation overflowed",
        _memory,
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 36000000000000 bytes.",
    ),
)
"""Messages of Lightning about its Trainer, and of torch about what does not fit."""


def call_by_key(message: str) -> str:
    """A message that no pattern knows, with the arguments of the Trainer called by their keys.

    Args:
        message: Of Lightning.
    """
    names = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    text = re.sub(r"`(\w+)`", lambda found: f"trainer.{found[1]}" if found[1] in names else found[0], message)
    return " ".join(re.sub(r"`?Trainer\((\w+)=([^)]*)\)`?", r"trainer.\1 \2", text).split())
