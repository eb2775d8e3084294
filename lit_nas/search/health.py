"""Noticing that a search is not finite any more, without waiting for the device at every step."""

from collections.abc import Iterable
from functools import reduce
from operator import add

import torch
from torch import Tensor

from lit_nas.precision import widest_float

__all__ = ("Health",)


class Health:
    """Remembers, on the device, the first step at which something was not finite."""

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def watch(self, values: Iterable[Tensor], step: float) -> None:
        """Notes a step if one of its values is not finite."""
        # in the widest numbers, where a sum of finite ones stays finite
        total = reduce(add, (value.detach().to(widest_float(value.device)).sum() for value in values))
        # filled on the device: a copy of a number from the host would make the step wait
        bad = torch.full_like(total, float(step)).masked_fill(total.isfinite(), torch.inf)
        self._first = bad if self._first is None else torch.minimum(self._first, bad)

    def first_bad(self) -> int | None:
        """The first step that was noted, or None; waits for the device."""
        return None if self._first is None or not self._first.isfinite() else int(self._first)
