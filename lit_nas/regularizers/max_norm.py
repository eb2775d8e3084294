"""The largest probability of each row.

Paper: Neumeyer, Stier, Granitzer, NeurIPS 2023 workshop, https://openreview.net/forum?id=kmHThRorxE.
The paper takes it of "the Gumbel-Softmax regularized architecture parameters", which is read as the noisy sample of the
step, softmax((alpha + G) / 10): `of: sample`. Without noise the term depends on the architecture alone; `temperature`
gives that one the scale of the paper.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.relaxations import GumbelSoftmax, Softmax

__all__ = ("MaxNorm",)


@dataclass(frozen=True)
class MaxNorm(Regularizer):
    """The maximum norm of FaDE: the sum over the edges of r times the largest probability of the edge.

    A positive strength keeps edges from deciding, a negative one makes them decide; the paper lowers it linearly, for
    example `Linear(0.1, 0)`, or `Linear(0.1, -0.1)` if it is to push at the end, and does not print its numbers.

    Raises:
        ValueError: if a factor is not finite, the temperature not positive, or `of` unknown or with a temperature.
    """

    factors: tuple[float, ...] = ()
    """r: one for each edge of all cell types in order; none given means 1 everywhere."""
    temperature: float | None = None
    """Takes softmax(logits / temperature) of the active candidates; the paper has 10, which flattens it, so that the
    strength must be larger. None takes the probabilities of the search."""
    of: Literal["probability", "sample"] = "probability"
    """The probabilities, which have no noise, or the soft sample of the step, with the noise and the temperature of
    `GumbelSoftmax`; where samples are hard it is the probability of the candidate that is executed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factors", tuple(self.factors))  # lists come from YAML
        if not all(map(isfinite, self.factors)):
            raise ValueError(f"MaxNorm.factors must be finite numbers, not {self.factors}.")
        if self.temperature is not None and not (isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"MaxNorm.temperature must be a positive number or null, not {self.temperature}.")
        if self.of not in ("probability", "sample"):
            raise ValueError(f"MaxNorm.of must be probability or sample, not {self.of!r}.")
        if self.of == "sample" and self.temperature is not None:
            raise ValueError(
                "MaxNorm.temperature is that of probabilities without noise, but samples have that of the relaxation: "
                "leave it out, or set MaxNorm.of to probability."
            )

    def check(self, architecture: Architecture) -> None:
        """Refuses factors that are not as many as the edges, a temperature without parameters, samples without draws.

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
        relaxation = architecture.relaxation
        if self.of == "sample" and (not isinstance(relaxation, GumbelSoftmax) or relaxation.per_cell):
            raise ValueError(
                "MaxNorm.of is sample, but the step has no soft sample for each type of cell with model.relaxation "
                f"{type(relaxation).__name__}: take GumbelSoftmax without per_cell, or set MaxNorm.of to probability."
            )
        edges = sum(len(cell.edges) for cell in cells.values())
        if self.factors and len(self.factors) != edges:
            raise ValueError(
                f"MaxNorm.factors has the length {len(self.factors)}, but the cell types {', '.join(cells)} have "
                f"{edges} edges together: give one number for each, or none."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`."""
        samples = view.soft_samples() if self.of == "sample" else None
        largest = [
            (self._probabilities(view, name) if samples is None else samples[name]).amax(-1)
            for name in view.probabilities
        ]
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
