"""A state and what the candidates that leave it have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.compiled import compiled
from lit_nas.engine.depthwise import to_subgrids
from lit_nas.operations import AvgPool, MaxPool

__all__ = ("Source", "repeat")


class Source:
    """A state and what the candidates that leave it share.

    Args:
        x: The state, [B, C, H, W] in channels_last.
        stride: Of all edges that leave it.
        update: Whether running statistics are updated.
        compiled: Whether convolutional candidates run as compiled code.
    """

    def __init__(self, x: Tensor, stride: int, update: bool, compiled: bool = False) -> None:
        self.x, self.stride, self.update, self.compiled = x, stride, update, compiled
        on_cpu, height, width = x.device.type == "cpu", *x.shape[2:]
        self.subgrids = stride == 1 and on_cpu and height % 2 == 0 and width % 2 == 0
        """Whether dilated kernels run on the four interleaved grids."""
        self.pools: dict[tuple[type[nn.Module], int], Tensor] = {}
        self.copies: dict[tuple[bool, int], Tensor] = {}
        self.normalised: dict[tuple[type[nn.Module], int, float], tuple[Tensor, Tensor, Tensor]] = {}

    @cached_property
    def relu(self) -> Tensor:
        """What all convolutional candidates see."""
        return F.relu(self.x)

    @cached_property
    def even(self) -> Tensor:
        """Its even rows and columns."""
        return self.relu[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def odd(self) -> Tensor:
        """Its odd rows and columns."""
        return self.relu[:, :, 1::2, 1::2].contiguous(memory_format=torch.channels_last)

    @cached_property
    def dilated(self) -> Tensor:
        """What a kernel with dilation 2 sees, made so that it needs no dilation where possible."""
        if self.stride == 2:
            return self.even
        return to_subgrids(self.relu) if self.subgrids else self.relu

    def wide(self, dilated: bool, times: int) -> Tensor:
        """`dilated` or `relu`, [B, C, H, W] -> [B, times * C, H, W]; the kinds of convolutions share the copies."""
        if (dilated, times) not in self.copies:
            self.copies[dilated, times] = repeat(self.dilated if dilated else self.relu, times)
        return self.copies[dilated, times]

    def run(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """The function's value, from compiled code if that was asked for."""
        return (compiled(function) if self.compiled else function)(*arguments)

    def pool(self, operation: MaxPool | AvgPool) -> Tensor:
        """The pooled state, which all edges share."""
        key = type(operation), operation.kernel_size
        if key not in self.pools:
            self.pools[key] = operation.pool(self.x)
        return self.pools[key]

    def normalised_pool(self, operation: MaxPool | AvgPool) -> tuple[Tensor, Tensor, Tensor]:
        """The pooled state normalised by the batch, with the mean and the variance for running statistics."""
        key = type(operation), operation.kernel_size, operation.norm.eps
        if key not in self.normalised:
            x, like = self.pool(operation), operation.norm.running_mean
            dtype = x.dtype if like is None else like.dtype
            mean, variance = (torch.zeros(x.shape[1], dtype=dtype, device=x.device) for _ in range(2))
            # with momentum 1 the running statistics become those of the batch
            y = F.batch_norm(x, mean, variance, None, None, True, 1.0, operation.norm.eps)
            self.normalised[key] = y, mean, variance
        return self.normalised[key]


def repeat(x: Tensor, times: int) -> Tensor:
    """[B, C, H, W] -> [B, times * C, H, W], without leaving channels_last."""
    if times == 1:
        return x
    return x.permute(0, 2, 3, 1).unsqueeze(3).expand(-1, -1, -1, times, -1).flatten(3).permute(0, 3, 1, 2)
