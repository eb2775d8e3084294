"""Cosine annealing through a power: the option of the code of StacNAS."""

from math import cos, pi

from torch import Tensor
from torch.optim import Optimizer

from lit_nas.optim.learning_rates import CosineLR

__all__ = ("CosinePowerLR",)


class CosinePowerLR(CosineLR):
    """Cosine-power annealing from the optimiser's lr to `lr_min`: lower than a cosine in between.

    With t = (1 + cos(pi * epoch / epochs)) / 2 the lr is lr_min + (lr - lr_min) * (p^(t + 1) - p) / (p^2 - p); the
    limit of p towards 1 is `CosineLR`. Code: https://github.com/susan0199/StacNAS.

    Args:
        optimizer: Whose lr it sets.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length; None means that of the run. It counts steps if the schedule moves at every step.
        power: p, greater than 1; the code has 2.

    Raises:
        ValueError: if `power` is not greater than 1.
    """

    def __init__(
        self, optimizer: Optimizer, lr_min: float = 1e-3, epochs: int | None = None, power: float = 2.0
    ) -> None:
        if not power > 1:
            raise ValueError(f"CosinePowerLR.power must be greater than 1, but is {power}; 1 would be CosineLR")
        self.power = float(power)
        super().__init__(optimizer, lr_min, epochs)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        where = 0.0 if self.epochs is None else min(self.last_epoch / self.epochs, 1.0)
        share = (self.power ** ((1 + cos(pi * where)) / 2) - 1) / (self.power - 1)
        return [self.lr_min + (base - self.lr_min) * share for base in self.base_lrs]
