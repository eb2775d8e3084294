"""The resource constraint of SNAS: weights, operations and memory accesses of the network that was drawn.

Paper: Xie, Zheng, Liu, Lin, ICLR 2019, https://arxiv.org/abs/1812.09926, section 2.4; the numbers are those of the
authors' code (SNAS-Series/SNAS-Series, commits dea7943 and 6b08bf9, `model_search.py` and `train_search.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.networks.candidate_costs import Measure
from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.relaxations import GumbelSoftmax
from lit_nas.schedules import Constant, Schedule

__all__ = ("ResourceCost",)

_MEASURES: tuple[Measure, ...] = ("parameters", "operations", "memory_access")
_SCALES: dict[Measure, float] = {
    "parameters": 0.43 * 2, "multiply_adds": 0.43 / 4000, "operations": 0.43 / 4000, "memory_access": 0.43 / 100,
}  # fmt: skip
"""Factors of the linear form, which bring the measures to one size."""


@dataclass(frozen=True)
class ResourceCost(Regularizer):
    """Adds the cost of a normal cell and `ratio` times that of a reduction cell, each a sum over its edges.

    Cells of a type count as one, with the mean of their costs. A candidate that costs nothing, `none` for example, is
    what the term prefers: so edges disappear. All estimators have the same mean.

    Raises:
        ValueError: if a form, an estimator or a measure is unknown, or the ratio is not finite.
    """

    strength: Schedule = Constant(1e-2)
    """What it is multiplied by, over the search. The code has 1e-2 for the logarithmic forms and 1.5e-3 in its best
    commands, 1e-5 for the linear form (1e-4 with `expected`), and a hundredth of the logarithmic one with `score`."""
    form: Literal["log", "log_of_edge", "linear"] = "log"
    """What an edge costs: the mean of the logarithms of the measures of each candidate (`log`), the mean over the
    measures of the logarithm of what the edge costs (`log_of_edge`, as the code computes it; both are the same once a
    sample is one-hot), or 0.43 (2 parameters + operations / 4000 + accesses / 100) of each candidate (`linear`). Where
    a logarithm is taken, what is below 1 counts as 1."""
    estimator: Literal["sample", "expected", "score"] = "sample"
    """Whose cost: that of the mixture of this step, through which the gradient goes (`sample`, of draws that execute
    all candidates), that of the probabilities without noise (`expected`), or that of the mixture as the reward of a
    policy gradient, the logarithm of the density of the sample times cost (`score`)."""
    ratio: float = 1.0
    """What reduction cells are multiplied by; the paper does not print it, the code has 1."""
    measures: tuple[Measure, ...] = _MEASURES
    """What counts."""
    baseline: bool = True
    """Whether `score` subtracts the mean cost of all candidates and edges of a cell from that of each edge; the code
    leaves it to a flag."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "measures", tuple(self.measures))  # lists come from YAML
        for name, known in (("form", ("log", "log_of_edge", "linear")), ("estimator", ("sample", "expected", "score"))):
            if getattr(self, name) not in known:
                raise ValueError(f"ResourceCost.{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}.")
        if not self.measures or not set(self.measures) <= set(_SCALES):
            raise ValueError(f"ResourceCost.measures must be some of {', '.join(_SCALES)}, not {list(self.measures)}.")
        if not isfinite(self.ratio):
            raise ValueError(f"ResourceCost.ratio must be a finite number, not {self.ratio}.")

    def check(self, architecture: Architecture) -> None:
        """Refuses estimators that the relaxation does not carry.

        Raises:
            ValueError: naming the estimator and the relaxation.
        """
        relaxation, name = architecture.relaxation, type(architecture.relaxation).__name__
        if self.estimator == "sample" and architecture.skips:
            raise ValueError(
                f"ResourceCost.estimator (model.optim.regularizers) is sample, but the draws of {name} leave out "
                "candidates, whose weights say nothing of their cost: set it to expected, which has the same mean."
            )
        if self.estimator == "score" and not isinstance(relaxation, GumbelSoftmax):
            raise ValueError(
                f"ResourceCost.estimator (model.optim.regularizers) is score, which needs the density of a sample of "
                f"GumbelSoftmax, but the relaxation is {name}: set it to expected."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`; with `score` it is the cost of the mixture, and its gradient that of the estimator."""
        terms = [self._of_type(view, name) for name in view.probabilities]
        return sum(terms[1:], terms[0])

    def _of_type(self, view: ArchitectureView, name: str) -> Tensor:
        positions = [number for number, position in enumerate(view.space.layout) if position.cell == name]
        tables = [view.costs(measure).stacked[name] for measure in self.measures]  # [P, E, O] each
        edges = self._edges(tables, self._shares(view, name, positions))
        total = edges.mean(0).sum()
        if self.estimator == "score":
            densities = view.log_densities()
            log = torch.stack([densities[number] for number in positions])  # [P, E]
            reward = edges.detach() - self._mean(tables).unsqueeze(-1) if self.baseline else edges.detach()
            surrogate = (log * reward).mean(0).sum()
            total = total.detach() + (surrogate - surrogate.detach())
        return self.ratio * total if view.space.cells[name].reduction else total

    def _shares(self, view: ArchitectureView, name: str, positions: Sequence[int]) -> Tensor:
        """How much each candidate counts, [P, E, O], or [1, E, O] where it is the same at all positions."""
        if self.estimator == "expected":
            return view.shares(name).unsqueeze(0)
        mixture = view.mixture()
        executed = [mixture[number] for number in positions]
        if all(cell is executed[0] for cell in executed):
            executed = executed[:1]
        return torch.stack([cell.weights for cell in executed])

    def _edges(self, tables: Sequence[Tensor], shares: Tensor) -> Tensor:
        """Cost of each edge at each position, [P, E]."""
        if self.form == "log_of_edge":
            return _mean([(shares * table).sum(-1).clamp(min=1).log() for table in tables])
        return (shares * self._candidates(tables)).sum(-1)

    def _candidates(self, tables: Sequence[Tensor]) -> Tensor:
        """Cost of each candidate in the forms that are linear in the shares, [P, E, O]."""
        if self.form == "linear":
            terms = [_SCALES[measure] * table for measure, table in zip(self.measures, tables, strict=True)]
            return sum(terms[1:], terms[0])
        return _mean([table.clamp(min=1).log() for table in tables])

    def _mean(self, tables: Sequence[Tensor]) -> Tensor:
        """Mean cost of all candidates and edges, [P]."""
        if self.form == "log_of_edge":
            return _mean([table.mean((1, 2)).clamp(min=1).log() for table in tables])
        return self._candidates(tables).mean((1, 2))


def _mean(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0]) / len(terms)
