"""Entropy of the architecture, as a distance from the uniform distribution.

Paper: Li, Khodak, Balcan, Talwalkar, ICLR 2021, https://arxiv.org/abs/2004.07802; the term is in the authors' code
(liamcli/gaea_release).
"""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer

__all__ = ("Entropy",)


@dataclass(frozen=True)
class Entropy(Regularizer):
    """The divergence KL(p || uniform) = log K - H(p) of each edge from its K active candidates being equal, summed.

    A positive strength keeps edges undecided (GAEA has 0.01 with sampling, and 0 otherwise), a negative one lets them
    decide. It is 0 where all candidates are equal and log K where an edge has decided; candidates of probability 0
    have no gradient.

    It measures competition: a relaxation whose candidates do not compete is refused.
    """

    def check(self, architecture: Architecture) -> None:
        """Refuses candidates that do not compete.

        Raises:
            ValueError: naming the relaxation.
        """
        if not architecture.relaxation.competes:
            raise ValueError(
                f"Entropy compares candidates that compete, but the weights of an edge under "
                f"{type(architecture.relaxation).__name__} do not sum to 1: choose ZeroOne, or another relaxation such "
                "as Softmax."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`: the sum of p log(K p) over all edges and candidates of all cell types."""
        terms = []
        for name, p in view.probabilities.items():
            count = view.masks[name].sum(-1, keepdim=True)
            alive = p > 0  # the logarithm of zero has no gradient
            logarithm = (p.masked_fill(~alive, 1.0) * count.clamp(min=1)).log()
            terms.append((p * logarithm * alive).sum())
        return sum(terms[1:], terms[0])
