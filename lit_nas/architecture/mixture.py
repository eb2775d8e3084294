"""What a network is handed: how its candidates are mixed."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lit_nas.relaxations import Active

__all__ = ("CellMixture", "Mixture", "Unselected")


@dataclass(frozen=True)
class CellMixture:
    """How the candidates of one cell are mixed in one forward pass."""

    weights: Tensor
    """[E, O]: what the output of operation o on edge e is multiplied by, the weight of the edge included."""
    active: Active
    """Which (edge, operation) pairs are executed. Host data, so that no step waits for the device; a pair that is
    left out contributes nothing, whatever its weight, and an edge without a pair contributes nothing at all."""
    beside: Tensor | None = None
    """[E]: factor of what an edge computes beside its candidates (an auxiliary path, for example); None is 1."""
    probed: Active = ()
    """Candidates that are computed for the gradient by their weights alone, see `Draw.probed`; their weights are 0."""


@dataclass(frozen=True)
class Unselected:
    """Factor of what an edge computes beside its candidates: the sum of the weights of those that were not sampled.

    Where one is sampled its value is 0, and its gradient that of the soft weights (GDAS in NAS-Bench-201, Dong and Yang
    2019). Where nothing is sampled, it is 0 without a gradient.
    """

    def __call__(self, weights: Tensor, sampled: bool) -> Tensor:
        """Weights, one-hot rows [E, O] where they are sampled -> [E]."""
        if not sampled:
            return weights.new_zeros(len(weights))
        # a row of soft weights sums to 1, whatever the logits, so the others have what the sampled one lacks
        chosen = weights.detach()
        return chosen.sum(-1) - (chosen * weights).sum(-1)


Mixture = Sequence[CellMixture]
"""How each cell of the search network is mixed, in order. Cells of a type may share the same object."""
