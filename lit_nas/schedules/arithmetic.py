"""The same arithmetic for numbers and for tensors, whose values the host does not see."""

from math import cos, floor

import torch
from torch import Tensor

from lit_nas.clock import Number

__all__ = ("at_least", "choose", "cos_of", "floor_of", "less_one", "like", "up_to")


def at_least(number: Number, least: float) -> Number:
    """A number, or a bound where it is below it."""
    return number.clamp(min=least) if isinstance(number, Tensor) else max(number, least)


def less_one(length: Number) -> Number:
    """A length less its last unit; that of a single unit stays, because the way begins where it ends."""
    return at_least(length - 1, 1.0)


def up_to(done: Number, length: Number) -> tuple[Number, Number]:
    """How much of a length is done, at most all of it, and the length."""
    if isinstance(done, Tensor):
        return torch.minimum(done, length) if isinstance(length, Tensor) else done.clamp(max=length), length
    return min(done, length), length


def floor_of(number: Number) -> Number:
    """The largest whole number that is not above it."""
    return number.floor() if isinstance(number, Tensor) else float(floor(number))


def cos_of(number: Number) -> Number:
    """The cosine."""
    return number.cos() if isinstance(number, Tensor) else cos(number)


def like(time: Number, number: float) -> Number:
    """A number in the form of a time."""
    return torch.full_like(time, number) if isinstance(time, Tensor) else number


def choose(condition: Tensor | bool, this: Number, other: Number) -> Number:
    """One of two numbers."""
    return torch.where(condition, this, other) if isinstance(condition, Tensor) else this if condition else other
