"""The cost that the architecture may be expected to have, and what makes the loss depend on it.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS, section 3.3; both forms are in the
authors' code).
All forms here use probabilities, the discrete expectation, and one measure at a time; the term of SNAS (Xie et al.,
2019), of several measures and of the drawn sample or the expectation, is `ResourceCost`.
"""

from abc import ABC
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor

from lit_nas.clock import Number
from lit_nas.networks.candidate_costs import CostTable, check_measure
from lit_nas.regularizers.regularizer import ArchitectureView, Regularizer
from lit_nas.schedules import Constant, Schedule

__all__ = ("CostFactor", "ExpectedCost")


def expected_cost(table: CostTable, view: ArchitectureView) -> Tensor:
    """What is not searched, and each candidate times its probability and the weight of its edge, 0-dim."""
    terms = [(view.shares(name) * cost).sum() for name, cost in table.by_type.items()]
    return table.fixed + sum(terms[1:], terms[0])


def even_cost(table: CostTable, view: ArchitectureView) -> Tensor:
    """The expected cost if the active candidates, and the edges of a node, were equal, 0-dim without a gradient."""
    terms = []
    for name, cost in table.by_type.items():
        mask = view.masks[name]
        edges = (cost * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        terms.append((edges / view.rivals[name].clamp(min=1) if view.rivals else edges).sum())
    return table.fixed + sum(terms[1:], terms[0])


@dataclass(frozen=True)
class _Cost(Regularizer, ABC):
    measure: str = "parameters"
    """What is counted: `parameters`, or for one image `multiply_adds`, `operations` (poolings included) or
    `memory_access`, of the search network. Or the path of a table of latencies (`.json`), which `lit-nas latency` has
    measured; costs are then milliseconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_measure(self.measure, f"{type(self).__name__}.measure")


@dataclass(frozen=True)
class _Relative(_Cost, ABC):
    reference: float | None = None
    """What costs are relative to, in the unit of the measure and with what is not searched; None takes the cost of
    equally probable candidates, and of equal edges where edges have weights."""

    least: ClassVar[float] = 0.0
    """What a reference must be above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference is not None and not (isfinite(self.reference) and self.reference > self.least):
            raise ValueError(
                f"{type(self).__name__}.reference must be above {self.least:g} or null, not {self.reference}."
            )

    def _costs(self, view: ArchitectureView) -> tuple[Tensor, Number]:
        """Expected cost and reference."""
        table = view.costs(self.measure)
        return expected_cost(table, view), even_cost(table, view) if self.reference is None else self.reference


@dataclass(frozen=True)
class ExpectedCost(_Relative):
    """Adds the expected cost, relative to a reference: strength * (E - reference) / reference (`add#linear`).

    Raises:
        ValueError: if the measure is unknown or the reference not positive.
    """

    strength: Schedule = Constant(0.1)
    """What it is multiplied by, over the search; the script of ProxylessNAS has 0.1."""

    def value(self, view: ArchitectureView) -> Tensor:
        """See `Regularizer`."""
        expected, reference = self._costs(view)
        return expected / reference - 1


@dataclass(frozen=True)
class CostFactor(_Relative):
    """Multiplies the loss: scale * loss * (log E / log reference) ^ strength (`mul#log`).

    It multiplies the terms that stand before it in the list, too; what stands after it is added.

    Raises:
        ValueError: if the measure is unknown, the reference not above 1, or the scale not positive.
    """

    strength: Schedule = Constant(0.6)
    """The exponent, over the search; 0 leaves the scale alone. ProxylessNAS has 0.6, and 0.3 in its script."""
    scale: float = 1.0
    """What the loss is multiplied by besides; 0.2 in the script of ProxylessNAS."""

    takes_loss = True
    least = 1.0  # a logarithm is divided by

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"CostFactor.scale must be a positive number, not {self.scale}.")

    def check_start(self, view: ArchitectureView) -> None:
        """Refuses latencies whose logarithms are not positive; what is counted is more than 1.

        Raises:
            ValueError: naming them.
        """
        super().check_start(view)
        if not self.measure.endswith(".json"):
            return
        expected, reference = (float(number) for number in self._costs(view))
        if min(expected, reference) <= 1:
            raise ValueError(
                f"CostFactor takes logarithms, so costs must be above 1, but {expected:.4g} is expected and the "
                f"reference is {reference:.4g} ({self.measure}): choose ExpectedCost, or measure larger batches."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """The quotient log E / log reference."""
        expected, reference = self._costs(view)
        base = torch.log(reference) if isinstance(reference, Tensor) else torch.full_like(expected, reference).log()
        return expected.log() / base

    def __call__(self, loss: Tensor, value: Tensor, strength: Number) -> Tensor:
        """See `Regularizer`."""
        return self.scale * loss * value**strength
