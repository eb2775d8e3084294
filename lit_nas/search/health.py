"""Noticing that a search is not finite any more, without waiting for the device at every step."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from math import isfinite
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lit_nas.precision import widest_float

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("Health",)


class Health:
    """Remembers, on the device, the first step at which something was not finite.

    Args:
        module: The search that is watched.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module
        self._first: Tensor | None = None

    def watch(self, values: Iterable[Tensor], step: float) -> None:
        """Notes a step if one of its values is not finite."""
        # in the widest numbers, where a sum of finite ones stays finite
        total = reduce(add, (value.detach().to(widest_float(value.device)).sum() for value in values))
        # filled on the device: a copy of a number from the host would make the step wait
        bad = torch.full_like(total, float(step)).masked_fill(total.isfinite(), torch.inf)
        self._first = bad if self._first is None else torch.minimum(self._first, bad)

    def check(self) -> None:
        """Ends a run with a step that was noted; waits for the device.

        Raises:
            FloatingPointError: naming the first such step and the last good checkpoint.
        """
        if self._first is None or not self._first.isfinite():
            return
        trainer, first = self._module.trainer, int(self._first)
        place = f"step {first}"
        if isfinite(trainer.num_training_batches):
            epoch, batch = divmod(first, int(trainer.num_training_batches))
            place = f"epoch {epoch}, batch {batch}"
        last = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        raise FloatingPointError(
            f"Loss or architecture is not finite since {place} (after {self._module.global_step} steps "
            f"of the weights). The last good checkpoint is {last if last.exists() else 'none'}. A smaller lr "
            "(model.optim.weights.lr, model.optim.arch.lr) or a smaller model.optim.clip may help."
        )
