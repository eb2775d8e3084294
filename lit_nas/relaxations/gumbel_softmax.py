"""Samples of a categorical distribution that have a gradient.

Papers: Jang, Gu, Poole, ICLR 2017, https://arxiv.org/abs/1611.01144; Maddison, Mnih, Teh, ICLR 2017,
https://arxiv.org/abs/1611.00712 (the distribution). In architecture search soft samples are those of SNAS (Xie et al.,
ICLR 2019, https://arxiv.org/abs/1812.09926), hard ones those of GDAS (Dong, Yang, CVPR 2019,
https://arxiv.org/abs/1910.04465).
"""

import math
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from lit_nas.clock import Moment, Number, Time
from lit_nas.relaxations.draw import Active, Draw, Occasion, active_columns, gumbel_noise
from lit_nas.relaxations.relaxation import Relaxation, one_of_each
from lit_nas.relaxations.softmax import log_softmax_of_active, softmax_of_active
from lit_nas.schedules import Schedule

__all__ = ("GumbelSoftmax", "log_density_of_concrete")


@dataclass(frozen=True)
class GumbelSoftmax(Relaxation):
    """Softmax of (logits + G) / temperature with Gumbel noise G.

    The largest entry is number i with probability softmax(logits)_i. Hard samples execute it alone and weigh it by 1;
    their gradient is that of the soft sample, to which only the candidate that is executed contributes, or in a step of
    the architecture all of them (`gradient`).

    Raises:
        ValueError: if a start value is out of range, or `gradient` is unknown or does not fit soft samples.
    """

    temperature: Schedule
    """The lower, the closer soft samples are to hard ones; must stay positive. It does not change what is drawn."""
    hard: bool = False
    """Whether one candidate of each edge is executed; otherwise all are."""
    per_cell: bool = False
    """Whether each cell has noise of its own; otherwise cells of a type share it."""
    initial_mean: float = 0.0
    """Mean of the start values of the parameters. A softmax does not see it, but weight decay does."""
    initial_deviation: float = 1e-3
    """Their standard deviation."""
    gradient: Literal["drawn", "all"] = "drawn"
    """Whose outputs the gradient of a hard sample knows: that of the candidate that is executed, as in GDAS, or in a
    step that updates the architecture those of all. Then the others are computed in its backward pass, one after
    the other, and the gradient is exactly the straight-through one of Jang et al.; a step of the weights executes one
    candidate in either case."""

    def __post_init__(self) -> None:
        if self.gradient not in ("drawn", "all"):
            raise ValueError(f"GumbelSoftmax.gradient must be drawn or all, not {self.gradient!r}.")
        if self.gradient == "all" and not self.hard:
            raise ValueError(
                "GumbelSoftmax.gradient chooses what hard samples learn from, but soft ones execute all candidates: "
                "set hard to true, or leave gradient out."
            )
        if not (isfinite(self.initial_mean) and isfinite(self.initial_deviation) and self.initial_deviation >= 0):
            raise ValueError(
                "GumbelSoftmax.initial_mean must be a finite number and initial_deviation one that is not negative, "
                f"not {self.initial_mean} and {self.initial_deviation}."
            )

    def initial(self, mask: Tensor) -> Tensor:
        """Start values of the parameters, [E, O], normally distributed."""
        return self.initial_mean + self.initial_deviation * torch.randn(mask.shape)

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    @property
    def skips(self) -> bool:
        """Hard samples do."""
        return self.hard

    @property
    def one_path(self) -> bool:
        """With hard samples."""
        return self.hard

    @property
    def probes(self) -> bool:
        """Where all candidates give a hard sample its gradient."""
        return self.gradient == "all"

    @property
    def of_edges(self) -> bool:  # type: ignore[override]  # elsewhere it depends on nothing
        """Unless candidates are computed for the gradient alone, which edges are not."""
        return not self.probes

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """How probable it is that a candidate has the largest entry, whatever the temperature; [E, O] -> [E, O]."""
        return softmax_of_active(logits, mask)

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """Noise [1, E, O], and after it the one-hot sample of hard ones.

        The noise is that of the occasion, whatever the temperature and whoever gives the gradient.

        Raises:
            ValueError: if the temperature is not positive.
        """
        if not (temperature := float(self.temperature(clock))) > 0:
            raise ValueError(
                f"relaxation.temperature of GumbelSoftmax must be positive, but is {temperature} at epoch "
                f"{float(clock.epoch):.4g}. End its schedule above 0."
            )
        # a row of its own for each edge: what is pruned elsewhere does not change what is drawn here
        noise = gumbel_noise(logits, occasion.generator)
        if not self.hard:
            return Draw(active_columns(mask), noise.unsqueeze(0))
        chosen = one_of_each(logits + noise, mask)
        probed: Active = ()
        if self.probes and occasion.updates != "weights":
            probed = active_columns(mask & ~chosen.numbers.bool())
        return Draw(chosen.active, torch.stack([noise, chosen.numbers]), probed)

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        soft = self.soft_sample(logits, mask, clock, draw)
        return draw.numbers[1] + (soft - soft.detach()) if self.hard else soft

    def soft_sample(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """softmax((logits + G) / temperature), [E, O]; hard samples are the largest entry of each of its rows."""
        return softmax_of_active((logits + draw.numbers[0]) / self.temperature(clock), mask)

    def log_density(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The density of a soft sample, or the probability of a hard one, [E]; 0 where nothing is active."""
        noise, *chosen = draw.numbers
        if chosen:
            return (log_softmax_of_active(logits, mask) * chosen[0]).sum(-1)
        temperature = self.temperature(clock)
        sample = log_softmax_of_active((logits.detach() + noise) / temperature, mask)
        return log_density_of_concrete(logits, sample, temperature, mask)


def log_density_of_concrete(logits: Tensor, log_sample: Tensor, temperature: Number, mask: Tensor) -> Tensor:
    """Logarithm of the density of a concrete distribution on the simplex (Maddison et al., equation 10).

    All is computed from logarithms, so that neither a small share of the sample nor its power overflows.

    Args:
        logits: [E, O], log alpha; a constant that is added to a row changes nothing.
        log_sample: [E, O], the logarithm of the sample.
        temperature: Positive.
        mask: bool [E, O], True where a candidate is active; an edge is a distribution over its n active candidates.

    Returns:
        [E]: log (n - 1)! + (n - 1) log t + sum log a - (t + 1) sum log z - n log sum a z^-t; 0 for a row of none.
    """
    n = mask.sum(-1).to(logits.dtype)
    alive = mask.any(-1, keepdim=True)
    powers = (logits - temperature * log_sample).masked_fill(~mask & alive, float("-inf")).logsumexp(-1)
    sums = (logits.masked_fill(~mask, 0.0) - (temperature + 1) * log_sample.masked_fill(~mask, 0.0)).sum(-1)
    log = temperature.log() if isinstance(temperature, Tensor) else math.log(temperature)
    return torch.where(alive.squeeze(-1), torch.lgamma(n) + (n - 1) * log + sums - n * powers, torch.zeros_like(n))
