"""Operation dropout in two groups, and the adjustment of the parameters that it asks for.

Paper: Hong et al., "DropNAS: grouped operation dropout for differentiable architecture search", IJCAI 2020,
https://arxiv.org/abs/2201.11679, section 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lit_nas.clock import Moment, Time
from lit_nas.operations import COPIES
from lit_nas.relaxations.draw import Draw, Occasion, active_columns
from lit_nas.relaxations.relaxation import Relaxation
from lit_nas.relaxations.softmax import Softmax
from lit_nas.schedules import Constant, Schedule

__all__ = ("FREE", "GroupedDropout", "keep_mass")

FREE = ("none", "skip_connect", *COPIES, "max_pool_3x3", "avg_pool_3x3", "max_pool_5x5", "avg_pool_5x5")
"""Candidates that count as having no weights, although a skip connection of stride 2 has some."""


@dataclass(frozen=True)
class GroupedDropout(Relaxation):
    """A random part of the candidates of each edge takes part in a step, at least one of each group.

    Candidates with weights are one group, those without the other. Each candidate is dropped with the probability
    r^(1 / |O|), |O| being the size of its group on its edge, so that r is how probable it would be that the whole group
    is dropped; masks that do so are never drawn, as if they were drawn anew. Cells of a type share their masks. The
    weights of what is kept are those of another relaxation over it alone, of both groups together.

    After a step of the architecture its parameters are adjusted: the same number is added to those of all kept
    candidates of an edge, so that the dropped ones keep the probability that they had.

    The authors' code lets the momentum of Adam update parameters of dropped candidates and restores the probability of
    all kept ones together; `freeze: false` does so. With `freeze` they stay as they are, and each dropped candidate
    keeps its own probability exactly. The optimiser's moments go on decaying in both cases.

    Raises:
        ValueError: if a rate is no schedule or not in [0, 1], the size of groups is below 1, or the other relaxation
            draws by itself or is adjusted without being a softmax.
    """

    with_weights: Schedule = Constant(3e-5)
    """r of the candidates with weights. It may be `Delayed`, like `model.optim.arch_from_epoch`, for a warm-up."""
    without_weights: Schedule = Constant(3e-5)
    """r of the candidates without weights."""
    of: Relaxation = Softmax()
    """What weighs the candidates that are kept."""
    adjust: bool = True
    """Whether parameters are adjusted after a step."""
    freeze: bool = True
    """Whether the parameters of dropped candidates stay as they are in a step; not so in the authors' code."""
    group_size: int | None = None
    """|O| in the exponent; None counts the candidates. The authors' code has 4 everywhere, also where a group has 2."""
    free: tuple[str, ...] = FREE
    """Names of the candidates without weights."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "free", tuple(self.free))  # lists come from YAML
        for name in ("with_weights", "without_weights"):
            if not isinstance(rate := getattr(self, name), Schedule):
                raise ValueError(
                    f"relaxation.{name} of GroupedDropout must be a schedule, for example Constant(3e-5), not {rate!r}."
                )
            if isinstance(rate, Constant):
                _check_rate(name, rate.value)
        if self.group_size is not None and self.group_size < 1:
            raise ValueError(f"relaxation.group_size of GroupedDropout must be at least 1, not {self.group_size}.")
        if self.of.samples:
            raise ValueError(
                f"relaxation.of of GroupedDropout is {type(self.of).__name__}, which draws candidates by itself: "
                "choose one that weighs them all, such as Softmax()."
            )
        if self.adjust and not isinstance(self.of, Softmax):
            raise ValueError(
                f"relaxation.adjust of GroupedDropout restores probabilities of a softmax, but relaxation.of is "
                f"{type(self.of).__name__}: set relaxation.adjust to false."
            )

    of_edges = False

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    @property
    def settles(self) -> bool:
        """Unless parameters are neither adjusted nor frozen."""
        return self.adjust or self.freeze

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Those of the other relaxation, without dropout, [E, O] -> [E, O]."""
        return self.of.probabilities(logits, mask, clock)

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """The candidates that are kept, as numbers 0 and 1, [E, O].

        Raises:
            ValueError: if a rate is not in [0, 1], or edges are to be dropped.
        """
        if not occasion.names:
            raise ValueError("GroupedDropout drops operations, not edges: choose another edge_relaxation.")
        noise = torch.rand(logits.shape, dtype=torch.float64, generator=occasion.generator)
        free = torch.tensor([name in self.free for name in occasion.names])
        kept = torch.zeros_like(mask)
        for name, group in (("with_weights", ~free), ("without_weights", free)):
            rate = _check_rate(name, float(getattr(self, name)(clock)))
            kept |= self._kept(noise, mask & group, rate)
        return Draw(active_columns(kept), kept.to(logits.dtype))

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """Those of the other relaxation over the kept candidates alone, [E, O] -> [E, O]."""
        return self.of.probabilities(logits, mask & draw.numbers.bool(), clock)

    def settled(self, before: Tensor, after: Tensor, mask: Tensor, draw: Draw) -> Tensor:
        """Parameters with which dropped candidates keep their probabilities, [E, O]."""
        kept = mask & draw.numbers.bool()
        if self.freeze:
            after = torch.where(kept, after, before)
        return keep_mass(before, after, mask, kept) if self.adjust else after

    def _kept(self, noise: Tensor, members: Tensor, rate: float) -> Tensor:
        """Which members of a group on each edge are kept, bool [E, O].

        One after the other: as long as none is kept, the chance of the next of m that are left is
        (1 - p) / (1 - p^m), which is that of a mask under the condition that at least one is kept, for any p up to 1.
        """
        left = members.sum(-1)
        sizes = left if self.group_size is None else torch.full_like(left, self.group_size)
        drop = rate ** (1.0 / sizes.clamp(min=1).double())  # p, [E]
        powers = drop.unsqueeze(-1) ** torch.arange(members.shape[-1])
        kept = torch.zeros_like(members)
        for column in range(members.shape[-1]):
            # (1 - p) / (1 - p^m) as the reciprocal of 1 + p + ... + p^(m - 1), which holds for p = 1 as well
            first = (powers * (torch.arange(members.shape[-1]) < left.unsqueeze(-1))).sum(-1).clamp(min=1).reciprocal()
            chance = torch.where(kept.any(-1), 1 - drop, first)
            kept[:, column] = members[:, column] & (noise[:, column] < chance)
            left = left - members[:, column].long()
        return kept


def keep_mass(before: Tensor, after: Tensor, mask: Tensor, kept: Tensor) -> Tensor:
    """Shifts the logits of kept candidates, so that a softmax gives all of them together what it gave them before.

    Logits of others that have not changed then keep their probabilities (alpha-adjust of DropNAS).

    Args:
        before: Logits before a step, [E, O].
        after: Logits after it, [E, O].
        mask: bool [E, O], the active candidates.
        kept: bool [E, O], those of them that took part in the step.
    """
    others = mask & ~kept
    both = (kept.any(-1) & others.any(-1)).unsqueeze(-1)  # otherwise there is nothing to keep
    had, has = (_log_mass(each, kept) - _log_mass(each, others) for each in (before, after))
    return after + torch.where(both & kept, had - has, torch.zeros_like(after))


def _log_mass(logits: Tensor, members: Tensor) -> Tensor:
    """The logarithm of the sum of exp(logit) over the members, [E, 1]; 0 where there are none."""
    some = members.any(-1, keepdim=True)
    return logits.masked_fill(~members & some, float("-inf")).logsumexp(-1, keepdim=True) * some


def _check_rate(name: str, rate: float) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(f"relaxation.{name} of GroupedDropout must be in [0, 1], but is {rate}.")
    return rate
