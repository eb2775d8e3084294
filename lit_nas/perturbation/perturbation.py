"""What a perturbation is: mixing weights in, others nearby out.

Paper: Chen, Hsieh, ICML 2020, https://arxiv.org/abs/2002.05283 (SmoothDARTS).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_nas.schedules import Schedule

__all__ = ("Attack", "CellWeights", "Perturbation", "Statistics", "to_simplex")

Statistics = Literal["running", "batch"]
"""By which statistics BatchNorm normalises."""


@dataclass(frozen=True)
class CellWeights:
    """The mixing weights of one cell, as a perturbation sees them."""

    weights: Tensor
    """[E, O], detached and without the weights of edges."""
    mask: Tensor
    """Candidates that are executed, bool [E, O]; the others have no weight."""
    noise: Tensor
    """Uniform in (-1, 1), [E, O]: new in each step, and equal on all ranks."""
    competes: bool
    """Whether the weights of an edge sum to 1; otherwise each is in [0, 1] by itself."""


class Attack(ABC):
    """The training loss of the present batch as a function of the mixing weights; nothing else changes by asking."""

    @abstractmethod
    def loss(self, weights: Sequence[Tensor], statistics: Statistics) -> Tensor:
        """The loss, detached; the same on all ranks."""

    @abstractmethod
    def gradient(self, weights: Sequence[Tensor], statistics: Statistics) -> list[Tensor]:
        """Its gradient by the weights, times a positive number; the same on all ranks."""


@dataclass(frozen=True)
class Perturbation(ABC):
    """Disturbs the mixing weights of each weight step. A value: no parameters, no state.

    The network learns to be good in a neighbourhood of the mixture, which flattens the loss around the architecture.
    The architecture itself is neither changed nor updated by it, and its own step sees the undisturbed mixture.

    Raises:
        ValueError: if epsilon is no schedule.
    """

    epsilon: Schedule
    """Half the width of the neighbourhood, in mixing weights, over the search."""

    def __post_init__(self) -> None:
        if not isinstance(self.epsilon, Schedule):
            raise ValueError(
                f"{type(self).__name__}.epsilon must be a schedule, for example Constant(0.03), not {self.epsilon!r}."
            )

    @abstractmethod
    def __call__(self, cells: Sequence[CellWeights], epsilon: Tensor, attack: Attack) -> list[Tensor]:
        """The mixing weights of a weight step.

        Args:
            cells: Those of the architecture, for each cell that has its own.
            epsilon: Of now, 0-dim.
            attack: What an adversary may look at.

        Returns:
            One [E, O] for each, in the order of `cells`.
        """


def to_simplex(weights: Tensor, cell: CellWeights) -> Tensor:
    """Brings changed mixing weights back to what mixing weights can be.

    Entries are cut to [0, 1]; where candidates compete, each row is then divided by its sum. A row of which nothing is
    left goes to the entry that was largest. This is the authors' procedure, not the nearest point of the simplex.

    Args:
        weights: Changed ones, [E, O].
        cell: What they were.
    """
    inside = weights.masked_fill(~cell.mask, 0.0).clamp(0, 1)
    if not cell.competes:
        return inside
    best = weights.masked_fill(~cell.mask, -torch.inf).argmax(-1, keepdim=True)
    largest = torch.zeros_like(weights).scatter(-1, best, 1.0) * cell.mask
    inside = torch.where(inside.sum(-1, keepdim=True) > 0, inside, largest)
    total = inside.sum(-1, keepdim=True)
    return inside / total.masked_fill(total == 0, 1.0)  # a row that has lost every candidate stays at zero
