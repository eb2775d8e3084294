"""The relaxation of DARTS."""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.relaxations.relaxation import Relaxation

__all__ = ("Softmax", "softmax_of_active")


def softmax_of_active(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the active candidates of an edge.

    Args:
        logits: [E, O].
        mask: bool [E, O].

    Returns:
        [E, O]; a row sums to 1, or to 0 where nothing is active.
    """
    safe = mask | ~mask.any(-1, keepdim=True)  # a softmax over nothing would be NaN
    return logits.masked_fill(~safe, float("-inf")).softmax(-1) * mask


@dataclass(frozen=True)
class Softmax(Relaxation):
    """Softmax over the active candidates of an edge (DARTS, equation 2)."""

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        return softmax_of_active(logits, mask)
