"""What Lightning says of its Trainer, and torch of what does not fit, as sentences about keys."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer

from lit_nas.cli.pattern import Pattern, translate

__all__ = ("TRAINER", "call_by_key", "translate_trainer")


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
