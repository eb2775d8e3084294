"""How several children of a step are drawn and weighed against each other."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.networks.candidate_costs import check_measure
from lit_nas.precision import widest_float
from lit_nas.schedules import Constant, Schedule

__all__ = ("ImportanceSampling",)


@dataclass(frozen=True)
class ImportanceSampling:
    """Monte-Carlo empirical Bayes: children of the prior, weighed by their likelihood.

    Raises:
        ValueError: if a number is out of range.
    """

    samples: int = 16
    """K, children of a step."""
    per_nat: float | None = None
    """Draws max(1, round(per_nat * H)) children instead, with H the entropy of the prior in nats; FP-NAS has 0.25."""
    likelihood: Literal["sum", "mean"] = "sum"
    """Whether the log-likelihood of a child is the sum over the images of a batch, which is the Bayesian one, or their
    mean. Sums of a large batch differ by many nats, so that one child gets all the weight."""
    temperature: Schedule = Constant(1.0)
    """What log-likelihoods are divided by; above 1, more children count."""
    least: float = 1e-3
    """Children of a smaller weight take no part in the step of the weights, which saves their backward pass."""
    cost_power: Schedule = Constant(0.0)
    """Beta: a child counts cost^-beta times as much (FP-NAS); 0 looks at no cost."""
    cost: str = "multiply_adds"
    """What of a child that is, the whole network included, see `ExpectedCost`; a table of latencies will do as well."""

    def __post_init__(self) -> None:
        where = "model.sampling"
        if self.samples < 1:
            raise ValueError(f"{where}.samples must be at least 1, not {self.samples}.")
        if self.per_nat is not None and not (isfinite(self.per_nat) and self.per_nat > 0):
            raise ValueError(f"{where}.per_nat must be a positive number or null, not {self.per_nat}.")
        if self.likelihood not in ("sum", "mean"):
            raise ValueError(f"{where}.likelihood must be sum or mean, not {self.likelihood!r}.")
        if not 0 <= self.least < 1:
            raise ValueError(f"{where}.least must be in [0, 1), not {self.least}.")
        check_measure(self.cost, f"{where}.cost")

    @property
    def looks_at_cost(self) -> bool:
        """Whether costs count at any time."""
        return self.cost_power != Constant(0.0)

    def count(self, entropy: float) -> int:
        """How many children a step has.

        Args:
            entropy: Of the prior, in nats.
        """
        return self.samples if self.per_nat is None else max(1, round(self.per_nat * entropy))

    def shares(self, losses: Tensor, size: int, clock: Time, costs: Tensor | None = None) -> Tensor:
        """Posterior weights: the softmax of the log-likelihoods; the prior cancels, as children are drawn from it.

        Args:
            losses: [K], mean loss of each child over the same batch.
            size: Images of the batch, of all processes.
            clock: Where the search is.
            costs: [K]; None looks at no cost.

        Returns:
            [K], sums to 1; without a gradient.
        """
        logarithms = -losses.detach().to(widest_float(losses.device)) * (size if self.likelihood == "sum" else 1)
        if costs is not None:
            logarithms = logarithms - self.cost_power(clock) * costs.to(logarithms).log()
        return (logarithms / self.temperature(clock)).softmax(0)

    def kept(self, shares: Tensor) -> Tensor:
        """Those of the step of the weights, [K] -> [K]: 0 where a child counts too little, and one child at least."""
        return shares * ((shares > self.least) | (shares == shares.max()))
