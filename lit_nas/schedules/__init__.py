"""Schedules: numbers that change over a run, as pure functions of its clock.

Relaxations, regularisers and the drop path of retraining share them. A schedule has no state: what it gives follows
from the clock alone, so there is nothing to save, and a run that continues goes on where it was. On a clock of tensors
each one computes on their device and waits for nothing; on a clock of numbers of the host it gives a number.
"""

from lit_nas.schedules.pieces import Delayed, Steps
from lit_nas.schedules.ramps import Cosine, Exponential, Linear, LinearThenExponential
from lit_nas.schedules.schedule import Constant, Schedule

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
