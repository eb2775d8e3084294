"""A target for weights, multiply-adds or latency, of the network that is retrained in the end.

Papers: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS: the expected cost, relative to a
reference); Tan et al., CVPR 2019, https://arxiv.org/abs/1807.11626 (MnasNet, equations 2 and 3: a factor (cost /
target)^w, hard or soft); Hu, Wu, He, ECCV 2020, https://arxiv.org/abs/2008.05314 (TF-NAS: lambda |cost / target - 1|,
in the authors' code).
None of them targets what is derived: in the papers derivation keeps what is most probable of each block, and the cost
that is expected comes near that of the result only as far as probabilities have decided. In the cells of DARTS they
hardly do. So the default (`of: derived`) computes the penalty from the cost of the network that would be derived now,
and takes its gradient from the expected cost (straight-through). Near the target single choices decide, each of which
may cost more than the tolerance, so that the last steps need not end there: derivation then corrects a few choices
(`correction`). Both are decisions of ours.
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.clock import Number
from lit_nas.networks import RetrainNetwork
from lit_nas.networks.candidate_costs import check_measure
from lit_nas.networks.derived_costs import NetworkCosts
from lit_nas.regularizers.regularizer import ArchitectureView, CostedNetwork, Regularizer
from lit_nas.schedules import Constant, Schedule

__all__ = ("CostTarget",)


@dataclass(frozen=True)
class CostTarget(Regularizer):
    """Draws the cost of a network to a target; what is logged is log(cost / target), 0 at the target.

    With r = cost / target, d = max(|log r| - tolerance, 0) (`log`) or max(|r - 1| - tolerance, 0) (`linear`), it adds
    strength * d; with `factor` it multiplies the loss by r ^ strength, without a tolerance. `lit-nas profile` prints
    which targets the space can reach.

    A cost `of: derived` needs the parameters on the host in each step of the architecture.

    Raises:
        ValueError: if the target is not positive, the tolerance negative, a measure, form, side or cost unknown, or
            numbers are given for the search network.
    """

    target: float = field(kw_only=True)
    """What the cost shall be: learned weights, multiply-adds of one image, or milliseconds."""
    measure: str = "parameters"
    """What is counted: `parameters`, or for one image `multiply_adds`, `operations` (poolings included) or
    `memory_access`. Or the path of a table of latencies (`.json`), which `lit-nas profile --out` has measured, for the
    search network `lit-nas latency`."""
    of: Literal["derived", "expected", "sample"] = "derived"
    """Whose cost: that of what would be derived now (`derived`), the sum over candidates of probability times cost,
    without noise, each edge as often as derivation keeps edges (`expected`), or that of the mixture of this step,
    through which the gradient goes (`sample`, of draws that execute all candidates)."""
    network: str | RetrainNetwork | None = None
    """The network whose costs count, without an auxiliary head: a retraining network by its name or class, or `search`
    for the search network with the candidates that are chosen. None is the retraining network of the space."""
    init_channels: int | None = None
    """C of the first cell of the retraining network; None means the network's own, the paper's."""
    num_cells: int | None = None
    """Depth of the retraining network; None means the network's own, the paper's."""
    strength: Schedule = Constant(10.0)
    """What it is multiplied by over the search, or with `factor` the exponent: MnasNet has 0.07 for both sides, and 1
    for the upper one."""
    form: Literal["log", "linear", "factor"] = "log"
    """The logarithm of the ratio, the ratio (TF-NAS), or a factor of the loss (MnasNet)."""
    sides: Literal["both", "upper", "lower"] = "both"
    """Whether costs above and below the target are penalised, those above (`upper`: at most so much), or below
    alone."""
    tolerance: float = 0.03
    """Part of the target by which the cost may differ without a penalty."""
    correction: float | None = 0.05
    """Part of the target by which a genotype may differ: one that is further away has choices changed for the next
    probable ones, as few as possible, see `lit_nas.search.landing`. None derives what is most probable, whatever it
    costs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_measure(self.measure, "CostTarget.measure")
        if not (isfinite(self.target) and self.target > 0):
            raise ValueError(f"CostTarget.target must be a positive number, not {self.target}.")
        if not (isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"CostTarget.tolerance must be a number from 0 on, not {self.tolerance}.")
        if self.correction is not None and not (isfinite(self.correction) and self.correction > 0):
            raise ValueError(f"CostTarget.correction must be a positive number or null, not {self.correction}.")
        for name, known in (
            ("of", ("derived", "expected", "sample")),
            ("form", ("log", "linear", "factor")),
            ("sides", ("both", "upper", "lower")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"CostTarget.{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}.")
        if self.network == "search" and (self.init_channels, self.num_cells) != (None, None):
            raise ValueError(
                "CostTarget.init_channels and CostTarget.num_cells are those of a retraining network, but "
                "CostTarget.network is search, whose numbers are those of model.space: leave them out."
            )

    @property
    def costed(self) -> CostedNetwork:
        """The network whose costs count."""
        return CostedNetwork(self.network, self.init_channels, self.num_cells)

    @property
    def takes_loss(self) -> bool:  # type: ignore[override]  # of the base class, for which it is a constant
        """A factor does."""
        return self.form == "factor"

    def check(self, architecture: Architecture) -> None:
        """Refuses the cost of a mixture that does not tell what candidates cost.

        Raises:
            ValueError: naming the relaxation.
        """
        if self.of == "sample" and architecture.skips:
            raise ValueError(
                "CostTarget.of (model.optim.regularizers) is sample, but the draws of "
                f"{type(architecture.relaxation).__name__} leave out candidates, whose weights say nothing of their "
                "cost: set it to expected, which has the same mean, or to derived."
            )

    def value(self, view: ArchitectureView) -> Tensor:
        """The logarithm of cost / target."""
        return (self.cost(view) / self.target).log()

    def __call__(self, loss: Tensor, value: Tensor, strength: Number) -> Tensor:
        """See `Regularizer`."""
        if self.sides != "both":
            value = value.clamp(min=0) if self.sides == "upper" else value.clamp(max=0)
        if self.form == "factor":
            # r ^ w rewards what is below the target with both sides; below it alone, too little costs
            return loss * (strength * (value if self.sides != "lower" else -value)).exp()
        distance = value if self.form == "log" else value.exp() - 1
        return loss + strength * (distance.abs() - self.tolerance).clamp(min=0)

    def cost(self, view: ArchitectureView) -> Tensor:
        """The cost that is penalised, in the unit of the measure, 0-dim.

        Args:
            view: Of the search.
        """
        costs = view.network_costs(self.measure, self.costed)
        if self.of == "sample":
            return costs.fixed + self._total(costs, _sampled(view))
        if self.of == "expected":
            return costs.fixed + self._total(costs, self._expected(view))
        genotype, expected = view.derived(), self._total(costs, self._expected(view))
        return (costs.fixed if genotype is None else costs.of(genotype)) + (expected - expected.detach())

    def _expected(self, view: ArchitectureView) -> dict[str, Tensor]:
        """How much each candidate may be expected to count, [E, O] by cell type."""
        found = {}
        for name, cell in view.space.cells.items():
            shares = view.shares(name)
            if self.network != "search" or self.of == "derived":
                shares = _of_derivation(shares, view, name)
                kept = view.kept_edges
                if kept is not None and not view.edges:  # weights of edges say themselves which are kept
                    inbound = [sum(target == other for _, other in cell.edges) for _, target in cell.edges]
                    parts = [min(1.0, kept / number) for number in inbound]
                    shares = torch.stack([row * part for row, part in zip(shares.unbind(), parts, strict=True)])
            found[name] = shares
        return found

    @staticmethod
    def _total(costs: NetworkCosts, shares: dict[str, Tensor]) -> Tensor:
        terms = [(share * costs.by_type[name]).sum() for name, share in shares.items()]
        return sum(terms[1:], terms[0])


def _of_derivation(shares: Tensor, view: ArchitectureView, name: str) -> Tensor:
    """Shares of an edge among what derivation may choose: where it never chooses `none`, that has no part in a cost."""
    cell = view.space.cells[name]
    if not (excluded := [column for column, each in enumerate(cell.operations) if each in view.excluded]):
        return shares
    others = [column for column in range(len(cell.operations)) if column not in excluded]
    chosen = torch.stack([column if o in others else 0 * column for o, column in enumerate(shares.unbind(-1))], -1)
    return chosen * (shares.sum(-1) / chosen.sum(-1).clamp(min=1e-12)).unsqueeze(-1)


def _sampled(view: ArchitectureView) -> dict[str, Tensor]:
    """The mixture of the step by cell type, its mean where cells of a type have one each."""
    mixture, found = view.mixture(), dict[str, list[Tensor]]()
    for position, cell in zip(view.space.layout, mixture, strict=True):
        found.setdefault(position.cell, []).append(cell.weights)
    return {name: torch.stack(weights).mean(0) for name, weights in found.items()}
