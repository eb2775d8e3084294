"""Partial channel connections: candidates see a part of the channels, the others pass by.

Paper: Xu et al., "PC-DARTS", ICLR 2020, https://arxiv.org/abs/1907.05737, section 3.2. As in the authors' code
(yuhuixu1993/PC-DARTS, `model_search.py`) the part is the first one and a shuffle follows, where the paper draws it at
random. The latter is `choice: random`, as `model_search_random.py` has it: there is no shuffle, and the channels stay
in the order that was drawn. Differs from that file, which throws its order away and so draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan
from lit_nas.edges.mixed_edge import MixedEdge
from lit_nas.operations import OperationStyle, original

__all__ = ("Bypass", "PartialChannels", "RandomChannels", "Shuffle")


@dataclass(frozen=True)
class Bypass:
    """The channels that no candidate sees, pooled to the size of the candidates' outputs.

    Edges that leave a state share it.
    """

    first: int
    """Number of channels that candidates see."""
    stride: int
    """Of the edge."""

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C - first, H / stride, W / stride], rounded up."""
        x = x[:, self.first :]
        return x if self.stride == 1 else F.max_pool2d(x, self.stride, self.stride, ceil_mode=True)


@dataclass(frozen=True)
class Shuffle:
    """Concatenation and channel shuffle in one copy, linear in both arguments.

    Channel j of group g of C / K channels moves to place j * K + g.
    """

    groups: int
    """K; the first group is what the candidates made."""

    def __call__(self, mixed: Tensor, beside: Tensor) -> Tensor:
        """[B, C / K, H, W] and [B, C - C / K, H, W] -> [B, C, H, W]."""
        groups = [mixed, *beside.chunk(self.groups - 1, 1)]
        if mixed.is_contiguous(memory_format=torch.channels_last) and not mixed.is_contiguous():
            pixels = torch.stack([group.permute(0, 2, 3, 1) for group in groups], 4)  # [B, H, W, C / K, K]
            return pixels.flatten(3).permute(0, 3, 1, 2)
        return torch.stack(groups, 2).flatten(1, 2)


class RandomChannels(MixedEdge):
    """An edge whose candidates see channels that are drawn anew for each step, by `lit_nas.search.draw_channels`.

    In evaluation, where nothing is random, they see the first ones.

    Args:
        names: The candidates.
        channels: C.
        seen: How many channels the candidates see.
        stride: 1 or 2.
        style: How the candidates are normalised.
    """

    order: Tensor
    """int64 [C]: which channel is at each place; the first `seen` places are those that the candidates see."""

    def __init__(self, names: tuple[str, ...], channels: int, seen: int, stride: int, style: OperationStyle) -> None:
        super().__init__(names, seen, stride, style, Bypass(seen, stride))
        # it follows from seed and step, so no checkpoint needs it
        self.register_buffer("order", torch.arange(channels), persistent=False)

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`; they are no slice of the state that an engine knows of."""
        x = x.index_select(1, self.order) if self.training else x
        assert self.path is not None
        aside, seen = self.path(x), x[:, : self.channels]
        mixed = reduce(add, (weight * self.operations[name](seen) for name, weight in weights.items()))
        yield torch.cat([mixed, aside if beside is None else beside * aside], 1)


@dataclass(frozen=True)
class PartialChannels(EdgeKind):
    """Candidates see the first C / K channels; the others pass by, max-pooled where the edge has stride 2.

    What passes by is multiplied by the weight of the edge, where a method has such weights. With K = 1 edges are plain.

    Raises:
        ValueError: if `k` is below 1, or the choice is unknown.
    """

    k: int = 4
    """K: the paper has 4 on CIFAR and 2 on ImageNet."""
    choice: Literal["first", "random"] = "first"
    """Which channels they see: the first ones, with a shuffle behind them (the authors' code), or some that each edge
    draws anew for each step (the paper). The latter are computed edge by edge, which is slower."""

    def __post_init__(self) -> None:
        if self.choice not in ("first", "random"):
            raise ValueError(f"edges.choice of PartialChannels must be first or random, not {self.choice!r}.")
        if self.k < 1:
            raise ValueError(f"edges.k of PartialChannels must be at least 1, not {self.k}.")

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`.

        Raises:
            ValueError: if K does not divide C, or a skip connection of stride 2 cannot halve C / K.
        """
        names, channels, stride, style = plan.names, plan.channels, plan.stride, plan.style
        if channels % self.k or (stride == 2 and "skip_connect" in map(original, names) and channels // self.k % 2):
            raise ValueError(
                f"Partial channels of 1/{self.k} do not fit cells of {channels} channels: K must divide them, and "
                "C / K must be even for skip connections of stride 2. Change edges.k or space.init_channels."
            )
        if self.k == 1:
            return MixedEdge(names, channels, stride, style)
        seen = channels // self.k
        if self.choice == "random":
            return RandomChannels(names, channels, seen, stride, style)
        return MixedEdge(names, seen, stride, style, Bypass(seen, stride), Shuffle(self.k))
