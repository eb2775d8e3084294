"""The largest probability of each row.

Paper: Neumeyer, Stier, Granitzer, NeurIPS 2023 workshop, https://openreview.net/forum?id=kmHThRorxE.
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.spaces import SearchSpace

__all__ = ("MaxNorm",)


@dataclass(frozen=True)
class MaxNorm(Regularizer):
    """The maximum norm of FaDE: the sum over the edges of r times the largest probability of the edge.

    A positive strength keeps edges from deciding, a negative one lets them decide; the paper lowers it linearly, for
    example `Linear(0.1, 0)`, and does not print its numbers.

    Raises:
        ValueError: if a factor is not finite.
    """

    factors: tuple[float, ...] = ()
    """r: one for each edge of all cell types in order; none given means 1 everywhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factors", tuple(self.factors))  # lists come from YAML
        if not all(map(isfinite, self.factors)):
            raise ValueError(f"MaxNorm.factors must be finite numbers, not {self.factors}.")

    def check(self, space: SearchSpace) -> None:
        """Refuses a number of factors that is not that of the edges.

        Raises:
            ValueError: naming both numbers.
        """
        edges = sum(len(cell.edges) for cell in space.cells.values())
        if self.factors and len(self.factors) != edges:
            raise ValueError(
                f"MaxNorm.factors has the length {len(self.factors)}, but the cell types {', '.join(space.cells)} have "
                f"{edges} edges together: give one number for each, or none."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`."""
        largest = [p.amax(-1) for p in view.probabilities.values()]
        if self.factors:  # numbers of the host: a tensor made of them would have to be copied
            rows = [row for cell in largest for row in cell.unbind()]
            terms = [factor * row for factor, row in zip(self.factors, rows, strict=True)]
        else:
            terms = [cell.sum() for cell in largest]
        return sum(terms[1:], terms[0])
