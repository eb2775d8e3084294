"""A loss that drives gates to 0 or 1.

Paper: Chu, Zhou, Zhang, Li, ECCV 2020, https://arxiv.org/abs/1911.12126, equations 4 and 5.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal

from torch import Tensor

from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.schedules import Constant, Schedule

__all__ = ("ZeroOne",)


@dataclass(frozen=True)
class ZeroOne(Regularizer):
    """The zero-one loss of FairDARTS: minus the mean distance of all gates of all cell types from one half.

    A positive strength drives gates away from one half, where the gradient of the square form vanishes. It is made for
    gates that do not compete (`Sigmoid`); those of a softmax over more than two candidates lie below one half at first
    and would all be driven to 0, as far as their sum allows.

    Raises:
        ValueError: if the form is unknown.
    """

    strength: Schedule = Constant(10.0)
    """What it is multiplied by, over the search; the paper has 10."""
    form: Literal["square", "absolute"] = "square"
    """`square`: -(p - 1/2)^2, in [-1/4, 0], strongest at p = 0.21 and 0.79; `absolute`: -|p - 1/2|, in [-1/2, 0],
    strongest at one half."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in ("square", "absolute"):
            raise ValueError(f"ZeroOne.form must be square or absolute, not {self.form!r}.")

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`; candidates that are not active do not count."""
        sums, counts = [], []
        for name, gates in view.probabilities.items():
            away = gates - 0.5
            away = away.square() if self.form == "square" else away.abs()
            sums.append((away * view.masks[name]).sum())
            counts.append(view.masks[name].sum())
        return -reduce(add, sums) / reduce(add, counts).float()
