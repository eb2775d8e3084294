"""Statistics of BatchNorm: the batch's for normalising, and the running ones, updated for a whole cell at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_nas.engine.fused.plan import Front, Group

__all__ = ("BatchStatistics", "Moments", "make_room", "normalise", "update_running", "without_bias")

Key = tuple[Group, int]
"""A group and the number of one of its BatchNorms."""


class Moments(NamedTuple):
    """What one BatchNorm needs to know, of K modules side by side."""

    mean: Tensor | None
    """[K * C]: where the mean of the batch goes, or the running mean if that normalises."""
    variance: Tensor | None
    """[K * C]: where the variance of the batch goes, or the running variance if that normalises."""
    by_batch: bool
    """Whether the batch normalises."""
    eps: float
    """Added to the variance."""


class BatchStatistics:
    """The means and variances of a batch, of all BatchNorms of a front that track them.

    Args:
        front: Whose candidates are computed.
        channels: C.
        room: Zeros for them, [2, T * C], see `make_room`; None gives each BatchNorm a tensor of its own.
        like: A state, for the device.
    """

    def __init__(self, front: Front, channels: int, room: Tensor | None, like: Tensor) -> None:
        sizes = [count * channels for count in front.tracked.values()]
        self.channels, self.room = channels, room
        if room is None:
            new = partial(torch.zeros, dtype=_dtype([front]), device=like.device)
            halves: list[Sequence[Tensor]] = [[*map(new, sizes)] for _ in range(2)]
        else:
            halves = [half.split(sizes) for half in room]
        means, variances = halves
        ends = list(accumulate(sizes, initial=0))
        self.moments = dict(zip(front.tracked, zip(means, variances, strict=True), strict=True))
        self.places = dict(zip(front.tracked, pairwise(ends), strict=True))

    def of(self, group: Group, index: int) -> Moments:
        """What BatchNorm number `index` of a group needs; computing it leaves the batch's moments in it."""
        norms = group.norms[index]
        if norms[0].training or norms[0].running_mean is None:
            mean, variance = self.moments.get((group, index), (None, None))
            return Moments(mean, variance, True, norms[0].eps)
        means, variances = ([getattr(norm, name) for norm in norms] for name in ("running_mean", "running_var"))
        return Moments(_cat(means), _cat(variances), False, norms[0].eps)

    def of_pools(self, groups: Sequence[Group]) -> Moments | None:
        """What one BatchNorm for all these pools side by side needs, or None if they do not allow it."""
        if (
            self.room is None
            or len({(len(group.norms), *(norms[0].eps for norms in group.norms)) for group in groups}) != 1
        ):
            return None
        if not groups[0].norms:
            return None
        places, eps = [self.places.get((group, 0)) for group in groups], groups[0].norms[0][0].eps
        if not any(places):
            return Moments(None, None, True, eps)
        first, last = places[0], places[-1]
        if first is None or last is None or any(a is None or b is None or a[1] != b[0] for a, b in pairwise(places)):
            return None
        mean, variance = self.room[:, first[0] : last[1]]
        return Moments(mean, variance, True, eps)

    def running(self) -> list[tuple[float, list[Tensor], list[Tensor]]]:
        """Momentum, running moments, and the batch's, of each BatchNorm."""
        found: list[tuple[float, list[Tensor], list[Tensor]]] = []
        means: Sequence[Tensor]
        halves = [] if self.room is None or not self.moments else [half.split(self.channels) for half in self.room]
        for (group, index), moments in self.moments.items():
            norms, places = group.norms[index], group.positions if group.pooled else range(len(group.members))
            buffers, first = [vars(norm)["_buffers"] for norm in norms], self.places[group, index][0] // self.channels
            if self.room is None:
                halves, first = [each.split(self.channels) for each in moments], 0
            means, variances = ([half[first + place] for place in places] for half in halves)
            if (biases := group.biases) is not None:  # which the batch's mean lacks, see `without_bias`
                means = torch._foreach_add(means, biases)
            old = [each[name] for name in ("running_mean", "running_var") for each in buffers]
            found.append((norms[0].momentum, old, [*means, *variances]))
        return found


def make_room(fronts: Sequence[Front], like: Tensor) -> list[Tensor]:
    """Zeros for the statistics of each front, [2, T * C] each: one tensor for all of them.

    Args:
        fronts: Whose candidates see C channels of a state or less.
        like: A state, for its channels and its device.
    """
    sizes = [sum(front.tracked.values()) * (front.channels or like.shape[1]) for front in fronts]
    new = torch.zeros if any(sizes) else torch.empty  # an empty one needs no kernel
    return list(new(2, sum(sizes), dtype=_dtype(fronts), device=like.device).split(sizes, 1))


def _dtype(fronts: Sequence[Front]) -> torch.dtype | None:
    means = (group.norms[index][0].running_mean for front in fronts for group, index in front.tracked)
    return next((mean.dtype for mean in means if mean is not None), None)


@torch.no_grad()
def update_running(fronts: Sequence[BatchStatistics]) -> None:
    """Updates the running moments of all BatchNorms of a cell by those of the batch."""
    lists: dict[float, tuple[list[Tensor], list[Tensor]]] = {}
    for momentum, old, new in (entry for front in fronts for entry in front.running()):
        pair = lists.setdefault(momentum, ([], []))
        pair[0].extend(old)
        pair[1].extend(new)
    for momentum, (old, new) in lists.items():
        torch._foreach_lerp_(old, new, momentum)


def normalise(x: Tensor, moments: Moments, scale: Tensor | None = None) -> Tensor:
    """BatchNorm of [B, K * C, H, W], times `scale`, [K * C]."""
    if scale is not None and x.dtype == torch.float64:
        scale = scale.to(x.dtype)
    mean, variance, by_batch, eps = moments
    # with momentum 1 the moments become those of the batch
    return F.batch_norm(x, mean, variance, scale, None, by_batch, 1.0, eps)


def without_bias(scale: Tensor, bias: Tensor) -> Tensor:
    """The scale of BatchNorm after a bias, [K * C] each, that was left out because the batch's mean takes it out again.

    BatchNorm(x + b) = BatchNorm(x), so the gradient of b is zero, but not None; the running mean sees mean(x) + b.
    """
    return scale + 0.0 * bias


def _cat(tensors: Sequence[Any]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors))
