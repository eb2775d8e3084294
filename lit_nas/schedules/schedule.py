"""What a schedule is, and the one that never changes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite

from lit_nas.clock import Number, Time

__all__ = ("Constant", "Schedule", "check_finite")


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


def check_finite(owner: Schedule, **numbers: float) -> None:
    """Refuses numbers that are not finite.

    Args:
        owner: Whose they are, for the message.
        numbers: By name.

    Raises:
        ValueError: naming the number.
    """
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
        check_finite(self, value=self.value)

    def __call__(self, clock: Time) -> float:
        """The number, whatever the time."""
        return self.value
