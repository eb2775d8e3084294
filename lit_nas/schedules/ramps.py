"""Schedules that follow a curve."""

from abc import ABC
from dataclasses import dataclass
from math import exp, pi
from typing import Literal

from lit_nas.clock import Number, Time
from lit_nas.schedules.arithmetic import choose, cos_of, floor_of, less_one, up_to
from lit_nas.schedules.schedule import Schedule, check_finite

__all__ = ("Cosine", "Exponential", "Linear", "LinearThenExponential")


@dataclass(frozen=True)
class _Ramp(Schedule, ABC):
    """From one number to another over the run, or over its first epochs.

    Raises:
        ValueError: if a number is not finite, or `every` or `epochs` is not what it can be.
    """

    start: float
    """Number at the beginning."""
    end: float
    """Number at the end of the run, which is kept if `epochs` end before it."""
    every: Literal["step", "epoch"] = "step"
    """Whether the number changes with every step, or at the beginning of an epoch."""
    inclusive: bool = False
    """Whether the last step, or epoch, has `end`; otherwise the one after it would have it."""
    epochs: float | None = None
    """Length in epochs; None means the whole run."""

    def __post_init__(self) -> None:
        check_finite(self, start=self.start, end=self.end, epochs=1.0 if self.epochs is None else self.epochs)
        if self.every not in ("step", "epoch"):
            raise ValueError(f"{type(self).__name__}.every must be `step` or `epoch`, not {self.every!r}.")
        if self.epochs is not None and self.epochs <= 0:
            raise ValueError(f"{type(self).__name__}.epochs must be positive or null, not {self.epochs}.")

    def _place(self, clock: Time) -> tuple[Number, Number]:
        """How much of the way is behind, and how long the way is, in the same unit."""
        if self.every == "epoch":
            length = clock.total_epochs if self.epochs is None else self.epochs
            return up_to(floor_of(clock.epoch), less_one(length) if self.inclusive else length)
        if not self.inclusive:
            return up_to(clock.progress, 1.0) if self.epochs is None else up_to(clock.epoch, self.epochs)
        part = 1.0 if self.epochs is None else self.epochs / clock.total_epochs
        return up_to(clock.step, less_one(clock.total_steps * part))


@dataclass(frozen=True)
class Linear(_Ramp):
    """In equal parts from one number to another."""

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        done, length = self._place(clock)
        return self.start + (self.end - self.start) * done / length


@dataclass(frozen=True)
class Cosine(_Ramp):
    """Along half a cosine from one number to another: slowly at first and in the end."""

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        done, length = self._place(clock)
        return self.end + (self.start - self.end) * (1 + cos_of(pi * done / length)) / 2


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplied by the same factor with each epoch.

    Raises:
        ValueError: if a number is not finite, the factor not positive, or `every` unknown.
    """

    start: float
    """Number in the first epoch."""
    factor: float
    """What each epoch multiplies it by."""
    every: Literal["step", "epoch"] = "epoch"
    """Whether the number changes with every step, or at the beginning of an epoch."""

    def __post_init__(self) -> None:
        check_finite(self, start=self.start, factor=self.factor)
        if self.factor <= 0:
            raise ValueError(f"Exponential.factor must be positive, not {self.factor}.")
        if self.every not in ("step", "epoch"):
            raise ValueError(f"Exponential.every must be `step` or `epoch`, not {self.every!r}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        return self.start * self.factor ** (floor_of(clock.epoch) if self.every == "epoch" else clock.epoch)


@dataclass(frozen=True)
class LinearThenExponential(Schedule):
    """Falls towards 0 in equal parts, and after some epochs from the start again, exponentially.

    In epoch e of E it is start * (E - e - 1) / E before `epochs`, and start * exp(-decay * (e - epochs)) from then on.
    So does the dropout of the authors' code of P-DARTS (Chen et al., 2019), whose first part ends when the architecture
    is first updated.

    Raises:
        ValueError: if a number is not finite, or `epochs` negative.
    """

    start: float
    """What both parts fall from."""
    epochs: float = 10
    """First epoch of the second part."""
    decay: float = 0.2
    """How fast the second part falls."""

    def __post_init__(self) -> None:
        check_finite(self, start=self.start, epochs=self.epochs, decay=self.decay)
        if self.epochs < 0:
            raise ValueError(f"LinearThenExponential.epochs must not be negative, but is {self.epochs}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        epoch, total = floor_of(clock.epoch), clock.total_epochs
        first = self.start * (total - epoch - 1) / total
        return choose(epoch >= self.epochs, self.start * exp(-self.decay) ** (epoch - self.epochs), first)
