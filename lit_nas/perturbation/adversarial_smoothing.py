"""Perturbation by an adversary."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_nas.perturbation.perturbation import Attack, CellWeights, Perturbation, Statistics, to_simplex
from lit_nas.schedules import Linear, Schedule

__all__ = ("AdversarialSmoothing",)


@dataclass(frozen=True)
class AdversarialSmoothing(Perturbation):
    """SDARTS-ADV: the mixing weights nearby at which the training loss is high, found by projected gradient ascent.

    Each weight step costs `steps` further forward and backward passes and two forward passes. The weights of the
    network stand still meanwhile, and running statistics see the pass of the step itself only.

    Raises:
        ValueError: if epsilon is no schedule, there is no step, or `statistics` is unknown.
    """

    epsilon: Schedule = Linear(0.03, 0.3, every="epoch")
    """Half the width of the neighbourhood; that of the paper by default. The last projection, onto what mixing weights
    can be, may leave it."""
    steps: int = 7
    """Ascents along the sign of the gradient, each by 2 epsilon / steps."""
    statistics: Statistics = "running"
    """By which statistics BatchNorm normalises meanwhile: running ones, as in the authors' code, or those of the
    batch, as in the step itself. Where there are none, those of the batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"AdversarialSmoothing.steps must be at least 1, not {self.steps}.")
        if self.statistics not in ("running", "batch"):
            raise ValueError(f"AdversarialSmoothing.statistics must be running or batch, not {self.statistics!r}.")

    def __call__(self, cells: Sequence[CellWeights], epsilon: Tensor, attack: Attack) -> list[Tensor]:
        """See `Perturbation`."""
        start = [cell.weights for cell in cells]
        found = [to_simplex(cell.weights + epsilon * cell.noise, cell) for cell in cells]
        for _ in range(self.steps):
            gradient = attack.gradient(found, self.statistics)
            found = [self._ascend(*each, epsilon) for each in zip(found, gradient, cells, strict=True)]
        failed = attack.loss(start, self.statistics) > attack.loss(found, self.statistics)
        return [torch.where(failed, before, after) for before, after in zip(start, found, strict=True)]

    def _ascend(self, weights: Tensor, gradient: Tensor, cell: CellWeights, epsilon: Tensor) -> Tensor:
        # the sign of what has overflowed is none
        moved = weights + 2 * epsilon / self.steps * gradient.sign().nan_to_num(0.0)
        moved = cell.weights + torch.maximum(torch.minimum(moved - cell.weights, epsilon), -epsilon)
        return to_simplex(moved, cell)
