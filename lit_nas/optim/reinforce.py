"""REINFORCE: the architecture is updated towards what the drawn networks are worth, and nothing is differentiated.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS, section 3.3.1). Numbers and baseline
are those of the authors' code (mit-han-lab/proxylessnas, 80c1c37, `search/nas_manager.py`).
"""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from lit_nas.networks.candidate_costs import check_measure

__all__ = ("Baseline", "Reinforce")


@dataclass(frozen=True)
class Reinforce:
    """How drawn networks are rewarded: accuracy, times (reference / cost) ^ exponent where a cost is measured.

    Raises:
        ValueError: if a number is out of range, or one of `measure` and `reference` is given without the other.
    """

    samples: int = 10
    """Networks of each step, M; all are scored on the same batch."""
    decay: float = 0.99
    """Which part of its distance to the mean reward of a step the baseline goes, before it is subtracted. With the 0.99
    of the authors' code it is nearly that mean; a small number makes it a slow average."""
    measure: str | None = None
    """What a network costs, see `ExpectedCost`; None rewards accuracy alone."""
    reference: float | None = None
    """Cost at which the reward is the accuracy, in the unit of the measure and with what is not searched."""
    exponent: float = 0.1
    """How much costs weigh."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"model.reinforce.samples must be at least 1, not {self.samples}.")
        if not 0 < self.decay <= 1:
            raise ValueError(f"model.reinforce.decay must be above 0 and at most 1, not {self.decay}.")
        if (self.measure is None) != (self.reference is None):
            raise ValueError(
                f"model.reinforce has the measure {self.measure} and the reference {self.reference}: give both, so "
                "that costs count, or neither."
            )
        if self.measure is not None:
            check_measure(self.measure, "model.reinforce.measure")
        if self.reference is not None and not (isfinite(self.reference) and self.reference > 0):
            raise ValueError(f"model.reinforce.reference must be a positive number, not {self.reference}.")
        if not (isfinite(self.exponent) and self.exponent >= 0):
            raise ValueError(f"model.reinforce.exponent must not be negative, but is {self.exponent}.")

    def rewards(self, accuracies: Tensor, costs: Tensor | None) -> Tensor:
        """What networks are worth, [M].

        Args:
            accuracies: In [0, 1], [M].
            costs: In the unit of the measure, [M]; None without a measure.
        """
        if costs is None or self.reference is None:
            return accuracies
        return accuracies * (self.reference / costs) ** self.exponent


class Baseline(nn.Module):
    """What rewards are compared with, a state of the search: at first the mean of a step, later it follows the means.

    Args:
        decay: Which part of its distance to a mean it goes.
    """

    value: Tensor
    known: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("known", torch.zeros(()))

    def forward(self, rewards: Tensor) -> Tensor:
        """Updates it, and gives the rewards without it.

        Args:
            rewards: Of the networks of a step, [M].
        """
        mean = rewards.mean()
        self.value.copy_(torch.where(self.known > 0, self.value + self.decay * (mean - self.value), mean))
        self.known.fill_(1.0)
        return rewards - self.value
