"""Where a run is, in steps and in epochs: what everything that changes over a run is a function of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ("Clock", "Moment", "Number", "Time")

Number = float | Tensor
"""A number on the host, or a 0-dim tensor."""


class Time(Protocol):
    """What schedules read: a `Clock`, or a `Moment` of the host."""

    @property
    def step(self) -> Number:
        """Batches before the present one, of all epochs."""

    @property
    def epoch(self) -> Number:
        """Epochs before this moment, with the fraction of the present one."""

    @property
    def total_steps(self) -> Number:
        """Batches of the whole run."""

    @property
    def total_epochs(self) -> Number:
        """Epochs of the whole run."""

    @property
    def progress(self) -> Number:
        """The part of the run that is done, in [0, 1]."""


@dataclass(frozen=True)
class Moment:
    """A `Time` of numbers or tensors that somebody else owns."""

    step: Number
    """Batches before the present one, of all epochs."""
    epoch: Number
    """Epochs before this moment, with the fraction of the present one."""
    total_steps: Number = 1.0
    """Batches of the whole run."""
    total_epochs: Number = 1.0
    """Epochs of the whole run."""

    @property
    def progress(self) -> Number:
        """The part of the run that is done, in [0, 1]."""
        return self.epoch / self.total_epochs


class Clock(nn.Module):
    """The clock of a search: 0-dim buffers, so that it is in the checkpoint and that CUDA graphs read it when replayed.

    They are float64, or float32 on devices that have no float64 (Apple GPUs). Before a run the totals are 1.
    """

    step: Tensor
    epoch: Tensor
    total_steps: Tensor
    total_epochs: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in (("step", 0.0), ("epoch", 0.0), ("total_steps", 1.0), ("total_epochs", 1.0)):
            self.register_buffer(name, torch.full((), value, dtype=torch.float64))
        self._moment: Moment | None = None
        self._length: tuple[float, float] | None = None
        # torch has no types for it
        self.register_load_state_dict_post_hook(lambda module, _: module.forget())  # type: ignore[no-untyped-call]

    @property
    def progress(self) -> Tensor:
        """The part of the run that is done, in [0, 1]."""
        return self.epoch / self.total_epochs

    def start(self, steps: float, epochs: float) -> None:
        """Sets the length of the run.

        Args:
            steps: Batches of the whole run.
            epochs: Epochs of the whole run.
        """
        self.total_steps.fill_(steps)
        self.total_epochs.fill_(epochs)
        self._length, self._moment = (float(steps), float(epochs)), None

    def set(self, step: float, epoch: float) -> None:
        """Sets the time; no device is waited for.

        Args:
            step: Batches before the present one, of all epochs.
            epoch: Epochs before it, with the fraction of the present one.
        """
        self.step.fill_(step)
        self.epoch.fill_(epoch)
        self._moment = None if self._length is None else Moment(float(step), float(epoch), *self._length)

    def moment(self) -> Moment:
        """The time in numbers of the host; waits for the device unless the time was set in this process."""
        if self._moment is None:
            names = ("step", "epoch", "total_steps", "total_epochs")
            self._moment = Moment(*(float(self.get_buffer(name)) for name in names))
        return self._moment

    def forget(self) -> None:
        """Forgets what it knows on the host of its buffers, which something else has written to."""
        self._moment = self._length = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Clock":
        """Moves or converts the buffers; to float32 where there is no float64."""
        try:
            fn(self.step)
        except TypeError:
            for name, buffer in list(self._buffers.items()):
                self._buffers[name] = None if buffer is None else buffer.float()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch has no types for it
