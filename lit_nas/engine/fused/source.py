"""The states of a front and what the candidates that leave them have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.fused.compiled import compiled
from lit_nas.operations import AvgPool, MaxPool
from lit_nas.operations.depthwise import to_subgrids

__all__ = ("Source",)

Positions = tuple[int, ...]
"""For each of K edges the place of its state among those of the front."""


class Source:
    """The S states of a front, side by side, and what the candidates that leave them share.

    Args:
        states: Each [B, C, H, W].
        stride: Of all edges that leave them.
        channels_last: Layout of the states; what is made of them keeps it.
        compiled: Whether convolutional candidates run as compiled code.
    """

    def __init__(self, states: list[Tensor], stride: int, channels_last: bool, compiled: bool = False) -> None:
        self.x = states[0] if len(states) == 1 else torch.cat(states, 1)
        self.count, self.channels = len(states), states[0].shape[1]
        self.stride, self.channels_last, self.compiled = stride, channels_last, compiled
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        on_cpu, height, width = self.x.device.type == "cpu", *self.x.shape[2:]
        self.subgrids = stride == 1 and on_cpu and channels_last and height % 2 == 0 and width % 2 == 0
        """Whether dilated kernels run on the four interleaved grids."""
        self.pools: dict[tuple[type[nn.Module], int], Tensor] = {}
        self.copies: dict[tuple[int, Positions], tuple[Tensor, Tensor]] = {}

    @cached_property
    def relu(self) -> Tensor:
        """What all convolutional candidates see."""
        return F.relu(self.x)

    @cached_property
    def even(self) -> Tensor:
        """Its even rows and columns."""
        return self.relu[:, :, ::2, ::2].contiguous(memory_format=self.layout)

    @cached_property
    def odd(self) -> Tensor:
        """Its odd rows and columns."""
        return self.relu[:, :, 1::2, 1::2].contiguous(memory_format=self.layout)

    @cached_property
    def dilated(self) -> Tensor:
        """What a kernel with dilation 2 sees, made so that it needs no dilation where possible."""
        if self.stride == 2:
            return self.even
        return to_subgrids(self.relu) if self.subgrids else self.relu

    def pool(self, operation: MaxPool | AvgPool) -> Tensor:
        """The pooled states, which all edges share."""
        key = type(operation), operation.kernel_size
        if key not in self.pools:
            self.pools[key] = operation.pool(self.x)
        return self.pools[key]

    def wide(self, x: Tensor, positions: Positions) -> Tensor:
        """For each edge a copy of its state: [B, S * C, H, W] -> [B, K * C, H, W]. Candidates share the copies."""
        if self.count == len(positions) == 1:
            return x
        key = id(x), positions
        if key not in self.copies:
            if times := self.times(positions):
                wide = self._repeat(x, times)
            else:
                parts = x.chunk(self.count, 1)
                wide = torch.cat([parts[position] for position in positions], 1)
            self.copies[key] = x, wide  # `x` as well, so that no other tensor takes its id
        return self.copies[key][1]

    def times(self, positions: Positions) -> int:
        """How many of the edges leave each state, 0 if these numbers differ."""
        times = len(positions) // self.count
        return times if positions == tuple(place for place in range(self.count) for _ in range(times)) else 0

    def _repeat(self, x: Tensor, times: int) -> Tensor:
        if times == 1:
            return x
        if self.channels_last:
            x = x.permute(0, 2, 3, 1).unflatten(3, (self.count, 1, -1)).expand(-1, -1, -1, -1, times, -1)
            return x.flatten(3).permute(0, 3, 1, 2)
        return x.unflatten(1, (self.count, 1, -1)).expand(-1, -1, times, -1, -1, -1).flatten(1, 3)

    def run(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """The function's value, from compiled code if that was asked for."""
        return (compiled(function) if self.compiled else function)(*arguments)
