"""What a search logs of its losses: single steps, means of an epoch, and the terms of regularisers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from lit_nas.internals import log_interval

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("LossLog",)


class LossLog:
    """Logs losses and terms; the means belong to the module, whose checkpoints hold them.

    Args:
        module: Whose losses they are.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module
        self._batch = 0
        self._terms: dict[str, Tensor | float] = {}

    def begin(self, batch: int) -> None:
        """Notes which batch of the epoch the following values belong to.

        Args:
            batch: Its number.
        """
        self._batch = batch

    @property
    def due(self) -> bool:
        """Whether this step is one of those that are logged; an interval of 0 logs means of epochs only."""
        every = log_interval(self._module.trainer)
        return every > 0 and (self._batch + 1) % every == 0

    def loss(self, level: str, value: Tensor, samples: int) -> None:
        """Counts the loss of a step in the mean of its epoch, and logs it where the step is due.

        Args:
            level: `weights` or `arch`.
            value: The loss, detached.
            samples: How many samples it is the mean over.
        """
        # one value per sample: without its checks, which wait for the device, the metric ignores weights
        self._module.losses[level].update(value.expand(samples))
        if self.due:
            self._module.log_now({f"{level}/loss_step": value})

    def step(self, values: Mapping[str, Tensor | float]) -> None:
        """Logs values of this step where it is due.

        Args:
            values: By name.
        """
        if self.due:
            self._module.log_now(dict(values))

    def terms(self, values: Mapping[str, Tensor]) -> None:
        """Keeps the values of regularisers for the end of the epoch, and logs them where the step is due.

        Args:
            values: By the name of the regulariser.
        """
        self._terms = {f"arch/{name}": value for name, value in values.items()}
        if values:
            self.step(self._terms)

    def epoch(self) -> None:
        """Logs the means of the epoch and the terms of its last step, and begins new means."""
        losses = self._module.losses
        updated = {name: losses[name] for name in losses if losses[name].update_called}
        self._module.log_now({f"{name}/loss": metric.compute() for name, metric in updated.items()}, prog_bar=True)
        if self._terms:  # of the last step, as regularisers change slowly
            self._module.log_now(self._terms)
        for metric in updated.values():
            metric.reset()
