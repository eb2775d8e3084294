"""Noise that follows from a seed and a step alone, computed where the step is known: on the device."""

import torch
from torch import Tensor

__all__ = ("uniform",)

_WEYL = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_BITS = 23
"""One less than a float32 holds: with the half that is added, each number is exact, on all devices the same."""


def uniform(seed: Tensor, step: Tensor, stream: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uniform numbers in (-1, 1), the same on every device, on all ranks and after a resume.

    They are a hash of what they depend on (the finaliser of SplitMix64), so there is no state, and no number
    is copied from the host.

    Args:
        seed: Of the run, int64 0-dim, on the device.
        step: 0-dim, on the device.
        stream: Tells apart what is drawn in the same step.
        shape: Of the result.
        dtype: Of the result, float32 or float64.
    """
    count = 1
    for side in shape:
        count *= side
    place = torch.arange(count, dtype=torch.int64, device=step.device)
    key = _mixed(_mixed(seed + _signed((stream + 1) * _WEYL % 2**64)) + step.to(torch.int64))
    bits = (_mixed(key + (place + 1) * _signed(_WEYL)) >> (64 - _BITS)) & (2**_BITS - 1)
    return _to_interval(bits, dtype).reshape(shape)


def _to_interval(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Whole numbers below 2^23 -> the middles of as many equal parts of (-1, 1), without rounding."""
    return (bits.to(dtype) + 0.5) * 2.0 ** (1 - _BITS) - 1.0


def _mixed(number: Tensor) -> Tensor:
    number = (number ^ _shifted(number, 30)) * _signed(_FIRST)
    number = (number ^ _shifted(number, 27)) * _signed(_SECOND)
    return number ^ _shifted(number, 31)


def _shifted(number: Tensor, places: int) -> Tensor:
    """Shifts to the right as if the number had no sign."""
    return (number >> places) & (2 ** (64 - places) - 1)


def _signed(number: int) -> int:
    """The signed number of 64 bits that has the same bits."""
    return number - 2**64 if number >= 2**63 else number
