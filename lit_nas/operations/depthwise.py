"""Depthwise convolution whose gradients are fast on a CPU.

The library runs the gradient of a depthwise kernel fast only where the kernel is undilated and at most three columns
wide. Both functions here bring the other cases to that one, exactly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ("depthwise", "depthwise_gradients", "from_subgrids", "to_subgrids")


def to_subgrids(x: Tensor) -> Tensor:
    """[B, C, H, W], H and W even -> [4 * B, C, H / 2, W / 2]: pixels by the parity of their row and column.

    A kernel with dilation 2 never mixes these four grids, so on them it is an ordinary one. Whatever other
    operation a candidate has concerns each pixel alone, or is a sum over all of them.
    """
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    x = x.permute(2, 4, 0, 1, 3, 5).reshape(4 * batch, height // 2, width // 2, channels)
    return x.permute(0, 3, 1, 2)


def from_subgrids(x: Tensor) -> Tensor:
    """The inverse of `to_subgrids`."""
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(2, 2, batch // 4, height, width, channels)
    x = x.permute(2, 3, 0, 4, 1, 5).reshape(batch // 4, 2 * height, 2 * width, channels)
    return x.permute(0, 3, 1, 2)


def depthwise(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Depthwise convolution that keeps the size up to the stride.

    Args:
        x: [B, C, H, W].
        weight: [C, 1, K, K] with K odd.
        stride: 1 or 2.
        dilation: 1 or 2; with 2 the library's own gradient is used.

    Returns:
        [B, C, H / stride, W / stride].
    """
    if x.device.type != "cpu" or dilation != 1:
        return F.conv2d(x, weight, None, stride, dilation * (weight.shape[-1] // 2), dilation, weight.shape[0])
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    return _Depthwise.apply(x, weight, stride)


class _Depthwise(torch.autograd.Function):
    """The backward pass consists of differentiable operations, so it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), needs = ctx.saved_tensors, ctx.needs_input_grad
        return *depthwise_gradients(gradient, x, weight, ctx.stride, needs[0], needs[1]), None


def depthwise_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, of_input: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of an undilated `depthwise` by its input and its kernel, by differentiable operations.

    Args:
        gradient: By its output, [B, C, H / stride, W / stride].
        x: Its input, [B, C, H, W].
        weight: Its kernel, [C, 1, K, K].
        stride: 1 or 2.
        of_input: Whether that by the input is needed.
        of_weight: Whether that by the kernel is needed.
    """
    return (
        _input_gradient(gradient, x, weight, stride) if of_input else None,
        _weight_gradient(gradient, x, weight, stride) if of_weight else None,
    )


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    if stride == 1:  # the same convolution with the kernel turned around
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, weight.shape[-1] // 2, 1, weight.shape[0])
    padding = [weight.shape[-1] // 2] * 2
    return _backward(gradient, x, weight, stride, padding, (True, False, False))[0]


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    size = weight.shape[-1]
    if size == 3 or stride == 2 or x.shape[-2] < 8:  # measured: the pieces gain nothing there
        return _backward(gradient, x, weight, stride, [size // 2] * 2, (False, True, False))[1]
    parts = []
    for shift, first, last in _pieces(size):
        shifted = F.pad(x, (-shift, shift)) if shift else x
        part = _backward(gradient, shifted, weight[..., :3], 1, [size // 2, 1], (False, True, False))[1]
        parts.append(part[..., first:last])
    return torch.cat(parts, -1)


def _pieces(size: int) -> list[tuple[int, int, int]]:
    """Three columns wide kernels that make up a wider one: shift of the map, and which columns to take of each.

    Shifting drops pixels at one border, so a shifted kernel is exact only in the columns that look away from it.
    """
    before = [(shift, 0, 2 if shift < -1 else 1) for shift in range(1 - size // 2, 0, 2)]
    return [*before, (0, 0, 3), *((-shift, 3 - taken, 3) for shift, _, taken in reversed(before))]


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: list[int], mask: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride, stride], padding, [1, 1], False, [0, 0], weight.shape[0], mask
    )
