"""Which floating-point numbers a device has."""

from functools import cache

import torch

__all__ = ("widest_float",)


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices without it (Apple GPUs)."""
    return _widest(device.type)


@cache
def _widest(kind: str) -> torch.dtype:
    try:
        return torch.zeros((), dtype=torch.float64, device=kind).dtype
    except TypeError:
        return torch.float32
