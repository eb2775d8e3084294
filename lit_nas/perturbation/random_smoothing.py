"""Perturbation by noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lit_nas.perturbation.perturbation import Attack, CellWeights, Perturbation, to_simplex
from lit_nas.schedules import Linear, Schedule

__all__ = ("RandomSmoothing",)


@dataclass(frozen=True)
class RandomSmoothing(Perturbation):
    """SDARTS-RS: uniform noise in [-epsilon, epsilon] on each mixing weight, new in each step; costs next to nothing.

    Raises:
        ValueError: if epsilon is no schedule.
    """

    epsilon: Schedule = Linear(0.03, 0.3, every="epoch")
    """Half the width of the neighbourhood; that of the paper by default."""

    def __call__(self, cells: Sequence[CellWeights], epsilon: Tensor, attack: Attack) -> list[Tensor]:
        """See `Perturbation`."""
        return [to_simplex(cell.weights + epsilon * cell.noise, cell) for cell in cells]
