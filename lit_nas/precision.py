"""Which floating-point numbers a device has, and in which of them a pass computes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial

import torch

__all__ = ("present_autocast", "widest_float")


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices without it (Apple GPUs)."""
    return _widest(device.type)


def present_autocast(kind: str) -> Callable[[], AbstractContextManager[object]]:
    """A way back into the autocast of this moment, for a backward pass that computes something again.

    Args:
        kind: Of the device; one without autocast computes as it stands.
    """
    if not torch.amp.is_autocast_available(kind):
        return nullcontext
    return partial(torch.autocast, kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), False)


@cache
def _widest(kind: str) -> torch.dtype:
    try:
        return torch.zeros((), dtype=torch.float64, device=kind).dtype
    except TypeError:
        return torch.float32
