"""Binary gates: one path is computed, and what its gate would change updates the architecture.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS, section 3.2). Read with the authors'
code (mit-han-lab/proxylessnas, 80c1c37, `search/modules/mix_op.py`).
Differs from it: where a candidate without a path (`none`) is drawn, the edge is updated like any other, while the code
leaves it out of this step, and of the expected cost of this step with it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_nas.clock import Moment, Time
from lit_nas.relaxations.draw import Draw, Occasion, active_columns, gumbel_noise
from lit_nas.relaxations.relaxation import Relaxation, one_of_each
from lit_nas.relaxations.softmax import log_softmax_of_active, softmax_of_active

__all__ = ("BinaryGates",)


@dataclass(frozen=True)
class BinaryGates(Relaxation):
    """A gate on each edge lets one candidate pass, candidate o with probability p_o = softmax(logits)_o.

    The gradient by the logits takes that by the gates for that by the probabilities: with G_o the gradient of the loss
    by the gate of candidate o, that by logit i is q_i * (G_i - sum of q_o * G_o), with q the probabilities of the
    candidates whose gates are known. One path is held in memory for it, however many candidates there are: the others
    are probed.

    Cells of a type share their gates, as they share their logits.

    Raises:
        ValueError: if the paths are unknown.
    """

    paths: Literal["two", "all", "one"] = "two"
    """Which gates a step of the architecture knows. `two` draws two candidates without replacement, and one of these as
    the path; the probability of one rises as that of the other falls, and no other one changes (the paper's way).
    `all` knows those of all candidates, which are computed one after the other (the default of the authors' code,
    `full_v2`). `one` knows the path alone and has no gradient: for methods that learn from what a path is worth."""

    def __post_init__(self) -> None:
        if self.paths not in ("two", "all", "one"):
            raise ValueError(f"BinaryGates.paths must be two, all or one, not {self.paths!r}.")

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    @property
    def one_path(self) -> bool:
        """Always; what is probed beside it takes no part."""
        return True

    @property
    def probes(self) -> bool:
        """Unless the path alone is known."""
        return self.paths != "one"

    of_edges = False

    @property
    def differentiable(self) -> bool:  # type: ignore[override]  # elsewhere it depends on nothing
        """Unless the path alone is known."""
        return self.paths != "one"

    @property
    def settles(self) -> bool:
        """With two paths."""
        return self.paths == "two"

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """How probable each candidate is to be the path; [E, O] -> [E, O]."""
        return softmax_of_active(logits, mask)

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """The path of each edge, and the candidates whose gates are known: numbers [2, E, O] of zeros and ones.

        Where the weights are updated, only the gate of the path is known.
        """
        paths = "one" if occasion.updates == "weights" else self.paths
        # the largest entries of logits with Gumbel noise are a draw without replacement
        order = logits + gumbel_noise(logits, occasion.generator)
        gates = first = one_of_each(order, mask).numbers.bool()
        if paths == "two":
            known = first | one_of_each(order, mask & ~first).numbers.bool()
            gates = one_of_each(logits + gumbel_noise(logits, occasion.generator), known).numbers.bool()
        else:
            known = mask if paths == "all" else first
        numbers = torch.stack([gates, known]).to(logits.dtype)
        return Draw(active_columns(gates), numbers, active_columns(known & ~gates))

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The gates, with the gradient of q; [E, O] -> [E, O]."""
        gates, known = draw.numbers
        q = softmax_of_active(logits, known.bool())
        return gates + (q - q.detach())

    def log_density(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The logarithm of the probability of the path, [E]; 0 where nothing is active.

        Raises:
            ValueError: with two paths, of which the drawn one depends on the other.
        """
        if self.paths == "two":
            return super().log_density(logits, mask, clock, draw)
        return (log_softmax_of_active(logits, mask) * draw.numbers[0]).sum(-1)

    def expected(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The probabilities; with two paths those of both alone, which sum to 1; [E, O] -> [E, O]."""
        return softmax_of_active(logits, draw.numbers[1].bool() if self.paths == "two" else mask)

    def settled(self, before: Tensor, after: Tensor, mask: Tensor, draw: Draw) -> Tensor:
        """Parameters with which both paths are as probable together as before, [E, O]."""
        known = draw.numbers[1].bool()
        after = torch.where(known, after, before)  # an optimiser with momentum would update the others as well
        exclusive = ~known & known.any(-1, keepdim=True)  # a row without candidates stays finite
        old, new = (x.masked_fill(exclusive, float("-inf")).logsumexp(-1, keepdim=True) for x in (before, after))
        return after - (new - old) * known
