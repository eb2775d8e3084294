"""The relaxation of DARTS."""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.relaxations.relaxation import Relaxation

__all__ = ("Softmax",)


@dataclass(frozen=True)
class Softmax(Relaxation):
    """Softmax over the active candidates of an edge (DARTS, equation 2)."""

    def __call__(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        safe = mask | ~mask.any(-1, keepdim=True)  # a softmax over nothing would be NaN
        return logits.masked_fill(~safe, float("-inf")).softmax(-1) * mask
