"""The relaxation of DARTS."""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.relaxations.relaxation import Relaxation

__all__ = ("Softmax", "log_softmax_of_active", "softmax_of_active")


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


def log_softmax_of_active(logits: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the softmax over the active candidates of an edge, [E, O] -> [E, O]; 0 where one is not active."""
    safe = mask | ~mask.any(-1, keepdim=True)
    return logits.masked_fill(~safe, float("-inf")).log_softmax(-1).masked_fill(~mask, 0.0)


@dataclass(frozen=True)
class Softmax(Relaxation):
    """Softmax over the active candidates of an edge (DARTS, equation 2)."""

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        return softmax_of_active(logits, mask)
