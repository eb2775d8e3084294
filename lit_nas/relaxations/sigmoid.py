"""A relaxation without competition."""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.relaxations.relaxation import Relaxation

__all__ = ("Sigmoid",)


@dataclass(frozen=True)
class Sigmoid(Relaxation):
    """Each candidate is weighted by itself (FairDARTS, Chu et al. 2020, https://arxiv.org/abs/1911.12126)."""

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; each active entry in (0, 1)."""
        return logits.sigmoid() * mask
