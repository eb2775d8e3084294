"""The candidates that leave one state, computed together; each function equals the modules it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.depthwise import depthwise, from_subgrids, to_subgrids
from lit_nas.operations import AvgPool, BatchNorm, DilatedConv, FactorizedReduce, MaxPool, SeparableConv, Zero
from lit_nas.operations.convolution import DepthwiseStage

__all__ = ("Source", "weighted_sums")

Operations = Sequence[dict[int, nn.Module]]
"""For each edge its active operations by column."""


class Source:
    """A state and what the candidates that leave it share.

    Args:
        x: The state, [B, C, H, W] in channels_last.
        stride: Of all edges that leave it.
        update: Whether running statistics are updated.
    """

    def __init__(self, x: Tensor, stride: int, update: bool) -> None:
        self.x, self.stride, self.update = x, stride, update
        on_cpu, height, width = x.device.type == "cpu", *x.shape[2:]
        self.subgrids = stride == 1 and on_cpu and height % 2 == 0 and width % 2 == 0
        """Whether dilated kernels run on the four interleaved grids."""
        self.pools: dict[tuple[type[nn.Module], int], Tensor] = {}

    @cached_property
    def relu(self) -> Tensor:
        return F.relu(self.x)

    @cached_property
    def even(self) -> Tensor:
        return self.relu[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def odd(self) -> Tensor:
        return self.relu[:, :, 1::2, 1::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def dilated(self) -> Tensor:
        """What a kernel with dilation 2 sees, made so that it needs no dilation where possible."""
        if self.stride == 2:
            return self.even
        return to_subgrids(self.relu) if self.subgrids else self.relu

    def pool(self, operation: MaxPool | AvgPool) -> Tensor:
        key = type(operation), operation.kernel_size
        if key not in self.pools:
            self.pools[key] = operation.pool(self.x)
        return self.pools[key]


def weighted_sums(
    source: Source, operations: Operations, weights: Sequence[Sequence[Tensor]], batched: bool
) -> list[Tensor]:
    """For each edge the sum of its operations times their weights.

    Args:
        source: Where the edges start.
        operations: For each edge its active operations by column, at least one.
        weights: For each edge and column the weight.
        batched: Whether one kernel runs an operation on all edges.

    Returns:
        [B, C, H', W'] for each edge.
    """
    every = range(len(operations))
    groups = [tuple(every)] if batched else [(edge,) for edge in every]
    sums: list[Tensor | None] = [None] * len(operations)
    for group in groups:
        wide: dict[tuple[tuple[int, ...], bool], Tensor] = {}
        for column in sorted({o for edge in group for o in operations[edge]}):
            edges = tuple(edge for edge in group if column in operations[edge])
            ...
    return sums
