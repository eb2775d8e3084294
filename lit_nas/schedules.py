"""Schedules: numbers that change over a run, as pure functions of its clock.

Relaxations, regularisers and the drop path of retraining share them. A schedule has no state: what it gives follows
from the clock alone, so there is nothing to save, and a run that continues goes on where it was. On a clock of tensors
each one computes on their device and waits for nothing; on a clock of numbers of the host it gives a number.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, exp, floor, isfinite, pi
from typing import Literal

import torch
from torch import Tensor

from lit_nas.clock import Moment, Number, Time

__all__ = (
    "Constant",
    "Cosine",
    "Delayed",
    "Exponential",
    "Linear",
    "LinearThenExponential",
    "Schedule",
    "Steps",
)


class Schedule(ABC):
    """A number as a function of the clock of a run. A value: no parameters, no state."""

    @abstractmethod
    def __call__(self, clock: Time) -> Number:
        """The number at a time.

        Args:
            clock: Of numbers, or of 0-dim tensors on one device.

        Returns:
            A number for a clock of numbers; for one of tensors a 0-dim tensor on its device, or a number where the
            schedule does not look at the clock.
        """


def _check(owner: Schedule, **numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number):
            raise ValueError(f"{type(owner).__name__}.{name} must be a finite number, not {number}.")


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same number.

    Raises:
        ValueError: unless it is finite.
    """

    value: float
    """The number."""

    def __post_init__(self) -> None:
        _check(self, value=self.value)

    def __call__(self, clock: Time) -> float:
        """The number, whatever the time."""
        return self.value


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
        _check(self, start=self.start, end=self.end, epochs=1.0 if self.epochs is None else self.epochs)
        if self.every not in ("step", "epoch"):
            raise ValueError(f"{type(self).__name__}.every must be `step` or `epoch`, not {self.every!r}.")
        if self.epochs is not None and self.epochs <= 0:
            raise ValueError(f"{type(self).__name__}.epochs must be positive or null, not {self.epochs}.")

    def _place(self, clock: Time) -> tuple[Number, Number]:
        """How much of the way is behind, and how long the way is, in the same unit."""
        if self.every == "epoch":
            length = clock.total_epochs if self.epochs is None else self.epochs
            return _upto(_floor(clock.epoch), _less_one(length) if self.inclusive else length)
        if not self.inclusive:
            return _upto(clock.progress, 1.0) if self.epochs is None else _upto(clock.epoch, self.epochs)
        part = 1.0 if self.epochs is None else self.epochs / clock.total_epochs
        return _upto(clock.step, _less_one(clock.total_steps * part))


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
        return self.end + (self.start - self.end) * (1 + _cos(pi * done / length)) / 2


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
        _check(self, start=self.start, factor=self.factor)
        if self.factor <= 0:
            raise ValueError(f"Exponential.factor must be positive, not {self.factor}.")
        if self.every not in ("step", "epoch"):
            raise ValueError(f"Exponential.every must be `step` or `epoch`, not {self.every!r}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        return self.start * self.factor ** (_floor(clock.epoch) if self.every == "epoch" else clock.epoch)


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
        _check(self, start=self.start, epochs=self.epochs, decay=self.decay)
        if self.epochs < 0:
            raise ValueError(f"LinearThenExponential.epochs must not be negative, but is {self.epochs}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        epoch, total = _floor(clock.epoch), clock.total_epochs
        first = self.start * (total - epoch - 1) / total
        return _choose(epoch >= self.epochs, self.start * exp(-self.decay) ** (epoch - self.epochs), first)


@dataclass(frozen=True)
class Steps(Schedule):
    """One number after the other.

    Raises:
        ValueError: if there is no number, or `at` does not name an epoch for each further one in rising order.
    """

    values: tuple[float, ...]
    """The numbers."""
    at: tuple[float, ...] | None = None
    """From which epoch on the second number holds, the third, and so on; None cuts the run into equal parts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))  # lists come from YAML
        object.__setattr__(self, "at", None if self.at is None else tuple(self.at))
        if not self.values or not all(map(isfinite, self.values)):
            raise ValueError(f"Steps.values must be at least one finite number, not {self.values}.")
        if self.at is not None and (len(self.at) != len(self.values) - 1 or list(self.at) != sorted(set(self.at))):
            raise ValueError(
                f"Steps.at must be {len(self.values) - 1} epochs in rising order, one for each value but the first, "
                f"not {self.at}."
            )

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        place = clock.epoch if self.at is not None else clock.progress * len(self.values)
        value = _like(place, self.values[0])
        for first, following in zip(self.at or range(1, len(self.values)), self.values[1:], strict=True):
            value = _choose(place >= first, following, value)
        return value


@dataclass(frozen=True)
class Delayed(Schedule):
    """A schedule that begins later, and then spans the rest of the run.

    Raises:
        ValueError: if a number is not finite or the delay negative.
    """

    schedule: Schedule
    """What begins."""
    epochs: float
    """After how many epochs."""
    before: float = 0.0
    """Number until then."""

    def __post_init__(self) -> None:
        _check(self, epochs=self.epochs, before=self.before)
        if self.epochs < 0:
            raise ValueError(f"Delayed.epochs must not be negative, but is {self.epochs}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        steps = clock.total_steps / clock.total_epochs * self.epochs
        rest = Moment(
            _at_least(clock.step - steps, 0.0),
            _at_least(clock.epoch - self.epochs, 0.0),
            _at_least(clock.total_steps - steps, _LEAST),
            _at_least(clock.total_epochs - self.epochs, _LEAST),
        )
        return _choose(clock.epoch >= self.epochs, self.schedule(rest), _like(clock.epoch, self.before))


_LEAST = 1e-6
"""Least length of the rest of a run: where nothing is left, nothing must be divided by zero."""


# the same arithmetic for numbers and for tensors, whose values the host does not see


def _at_least(number: Number, least: float) -> Number:
    return number.clamp(min=least) if isinstance(number, Tensor) else max(number, least)


def _less_one(length: Number) -> Number:
    """A length less its last unit; that of a single unit stays, because the way begins where it ends."""
    return _at_least(length - 1, 1.0)


def _upto(done: Number, length: Number) -> tuple[Number, Number]:
    if isinstance(done, Tensor):
        return torch.minimum(done, length) if isinstance(length, Tensor) else done.clamp(max=length), length
    return min(done, length), length


def _floor(number: Number) -> Number:
    return number.floor() if isinstance(number, Tensor) else float(floor(number))


def _cos(number: Number) -> Number:
    return number.cos() if isinstance(number, Tensor) else cos(number)


def _like(time: Number, number: float) -> Number:
    return torch.full_like(time, number) if isinstance(time, Tensor) else number


def _choose(condition: Tensor | bool, this: Number, other: Number) -> Number:
    return torch.where(condition, this, other) if isinstance(condition, Tensor) else this if condition else other
