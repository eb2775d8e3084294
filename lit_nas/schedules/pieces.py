"""Schedules that are put together from others, or from numbers."""

from dataclasses import dataclass
from math import isfinite

from lit_nas.clock import Moment, Number, Time
from lit_nas.schedules.arithmetic import at_least, choose, like
from lit_nas.schedules.schedule import Schedule, check_finite

__all__ = ("Delayed", "Steps")

_LEAST = 1e-6
"""Least length of the rest of a run: where nothing is left, nothing must be divided by zero."""


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
        value = like(place, self.values[0])
        for first, following in zip(self.at or range(1, len(self.values)), self.values[1:], strict=True):
            value = choose(place >= first, following, value)
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
        check_finite(self, epochs=self.epochs, before=self.before)
        if self.epochs < 0:
            raise ValueError(f"Delayed.epochs must not be negative, but is {self.epochs}.")

    def __call__(self, clock: Time) -> Number:
        """See `Schedule`."""
        steps = clock.total_steps / clock.total_epochs * self.epochs
        rest = Moment(
            at_least(clock.step - steps, 0.0),
            at_least(clock.epoch - self.epochs, 0.0),
            at_least(clock.total_steps - steps, _LEAST),
            at_least(clock.total_epochs - self.epochs, _LEAST),
        )
        return choose(clock.epoch >= self.epochs, self.schedule(rest), like(clock.epoch, self.before))
