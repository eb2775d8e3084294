"""The largest probability of each row.

Paper: Neumeyer, Stier, Granitzer, NeurIPS 2023 workshop, https://openreview.net/forum?id=kmHThRorxE.
Differs from it: the paper takes the largest probability of the noisy sample, softmax((alpha + G) / 10), this one that
without noise, so that the term depends on the architecture alone. `temperature` gives it the scale of the paper.
"""

from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.relaxations import Softmax

__all__ = ("MaxNorm",)


@dataclass(frozen=True)
class MaxNorm(Regularizer):
    """The maximum norm of FaDE: the sum over the edges of r times the largest probability of the edge.

    A positive strength keeps edges from deciding, a negative one lets them decide; the paper lowers it linearly, for
    example `Linear(0.1, 0)`, and does not print its numbers.

    Raises:
        ValueError: if a factor is not finite or the temperature not positive.
    """

    factors: tuple[float, ...] = ()
    """r: one for each edge of all cell types in order; none given means 1 everywhere."""
    temperature: float | None = None
    """Takes softmax(logits / temperature) of the active candidates; the paper has 10, which flattens it, so that the
    strength must be larger. None takes the probabilities of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factors", tuple(self.factors))  # lists come from YAML
        if not all(map(isfinite, self.factors)):
            raise ValueError(f"MaxNorm.factors must be finite numbers, not {self.factors}.")
        if self.temperature is not None and not (isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"MaxNorm.temperature must be a positive number or null, not {self.temperature}.")

    def check(self, architecture: Architecture) -> None:
        """Refuses factors that are not as many as the edges, and a temperature without parameters of candidates.

        Raises:
            ValueError: naming both numbers, or the relaxation.
        """
        cells = architecture.cells
        fits = all(logits.shape == architecture.mask(name).shape for name, logits in architecture.logits.items())
        if self.temperature is not None and not fits:
            raise ValueError(
                f"MaxNorm.temperature divides the parameters of candidates, which "
                f"{type(architecture.relaxation).__name__} does not have: leave it out (null)."
            )
        edges = sum(len(cell.edges) for cell in cells.values())
        if self.factors and len(self.factors) != edges:
            raise ValueError(
                f"MaxNorm.factors has the length {len(self.factors)}, but the cell types {', '.join(cells)} have "
                f"{edges} edges together: give one number for each, or none."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`."""
        largest = [self._probabilities(view, name).amax(-1) for name in view.probabilities]
        if self.factors:  # numbers of the host: a tensor made of them would have to be copied
            rows = [row for cell in largest for row in cell.unbind()]
            terms = [factor * row for factor, row in zip(self.factors, rows, strict=True)]
        else:
            terms = [cell.sum() for cell in largest]
        return sum(terms[1:], terms[0])

    def _probabilities(self, view: ArchitectureView, cell: str) -> Tensor:
        if self.temperature is None:
            return view.probabilities[cell]
        return Softmax().probabilities(view.logits[cell] / self.temperature, view.masks[cell], view.clock)
