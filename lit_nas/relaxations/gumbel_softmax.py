"""Samples of a categorical distribution that have a gradient.

Papers: Jang, Gu, Poole, ICLR 2017, https://arxiv.org/abs/1611.01144; Maddison, Mnih, Teh, ICLR 2017,
https://arxiv.org/abs/1611.00712 (the distribution). In architecture search soft samples are those of SNAS (Xie et al.,
ICLR 2019, https://arxiv.org/abs/1812.09926), hard ones those of GDAS (Dong, Yang, CVPR 2019,
https://arxiv.org/abs/1910.04465).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lit_nas.clock import Moment, Time
from lit_nas.relaxations.draw import Draw, Occasion, active_columns
from lit_nas.relaxations.relaxation import Relaxation, one_of_each
from lit_nas.relaxations.softmax import softmax_of_active
from lit_nas.schedules import Schedule

__all__ = ("GumbelSoftmax",)


@dataclass(frozen=True)
class GumbelSoftmax(Relaxation):
    """Softmax of (logits + G) / temperature with Gumbel noise G.

    The largest entry is number i with probability softmax(logits)_i. Hard samples execute it alone and weigh it by 1;
    their gradient is that of the soft sample, to which only the candidate that is executed contributes.
    """

    temperature: Schedule
    """The lower, the closer soft samples are to hard ones; must stay positive. It does not change what is drawn."""
    hard: bool = False
    """Whether one candidate of each edge is executed; otherwise all are."""
    per_cell: bool = False
    """Whether each cell has noise of its own; otherwise cells of a type share it."""

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    @property
    def skips(self) -> bool:
        """Hard samples do."""
        return self.hard

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """How probable it is that a candidate has the largest entry, whatever the temperature; [E, O] -> [E, O]."""
        return softmax_of_active(logits, mask)

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """Noise [1, E, O], and after it the one-hot sample of hard ones.

        Raises:
            ValueError: if the temperature is not positive.
        """
        if not (temperature := float(self.temperature(clock))) > 0:
            raise ValueError(
                f"relaxation.temperature of GumbelSoftmax must be positive, but is {temperature} at epoch "
                f"{float(clock.epoch):.4g}. End its schedule above 0."
            )
        # a row of its own for each edge: what is pruned elsewhere does not change what is drawn here
        noise = -torch.empty_like(logits).exponential_(generator=occasion.generator).log()
        if not self.hard:
            return Draw(active_columns(mask), noise.unsqueeze(0))
        chosen = one_of_each(logits + noise, mask)
        return Draw(chosen.active, torch.stack([noise, chosen.numbers]))

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        noise, *chosen = draw.numbers
        soft = softmax_of_active((logits + noise) / self.temperature(clock), mask)
        return chosen[0] + (soft - soft.detach()) if chosen else soft
