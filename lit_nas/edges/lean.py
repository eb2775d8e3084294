"""Computing that keeps little for its backward pass: what is cheap is computed a second time there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from lit_nas.operations.depthwise import depthwise_gradients
from lit_nas.precision import present_autocast

__all__ = ("conv_of_relu", "recomputed")


def conv_of_relu(x: Tensor, kernel: Tensor, stride: int, reach: int, dilation: int) -> Tensor:
    """Convolution of relu(x) without a bias; keeps x, which others keep as well, in the place of relu(x).

    Args:
        x: [B, C, H, W].
        kernel: [C, 1, K, K], depthwise, or [C', C, K, K].
        stride: 1 or 2.
        reach: Padding on each side.
        dilation: Distance of the pixels of the kernel.

    Returns:
        [B, C', H / stride, W / stride].
    """
    return _ConvOfReLU.apply(x, kernel, stride, reach, dilation)


def recomputed(function: Callable[..., Tensor], again: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """The value of a function, of which only the inputs are kept for the backward pass.

    Args:
        function: Of tensors; computes the value, and may change what is not differentiated, such as statistics.
        again: The same without changing anything; computes it once more in the backward pass, under the autocast of the
            forward pass.
        inputs: All tensors that it depends on; None stands for one that there is not.
    """
    return _Recomputed.apply(function, again, *inputs)


class _ConvOfReLU(Function):
    """The backward pass consists of differentiable operations, so it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, stride: int, reach: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.stride, ctx.reach, ctx.dilation = stride, reach, dilation
        return F.conv2d(F.relu(x), kernel, None, stride, reach, dilation, x.shape[1] // kernel.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, kernel = ctx.saved_tensors
        needs, groups = ctx.needs_input_grad, x.shape[1] // kernel.shape[1]
        read, weight = F.relu(x).to(gradient.dtype), kernel.to(gradient.dtype)
        if x.device.type == "cpu" and ctx.dilation == 1 and kernel.shape[1] == 1 and groups > 1:
            of_input, of_kernel = depthwise_gradients(gradient, read, weight, ctx.stride, needs[0], needs[1])
        else:
            of_input, of_kernel, _ = torch.ops.aten.convolution_backward(
                gradient, read, weight, None, [ctx.stride] * 2, [ctx.reach] * 2, [ctx.dilation] * 2, False, [0, 0],
                groups, (needs[0], needs[1], False),
            )  # fmt: skip
        if of_input is not None:
            of_input = of_input.to(x.dtype) * (x > 0)
        return of_input, None if of_kernel is None else of_kernel.to(kernel.dtype), None, None, None


class _Recomputed(Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Tensor], again: Callable[..., Tensor], *inputs: Tensor | None
    ) -> Tensor:
        ctx.again, ctx.none = again, [each is None for each in inputs]
        given = [each for each in inputs if each is not None]
        ctx.autocast = present_autocast(given[0].device.type)
        ctx.save_for_backward(*given)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        inputs = [None if none else next(saved) for none in ctx.none]
        twice, needs = torch.is_grad_enabled(), ctx.needs_input_grad[2:]
        if not twice:  # otherwise a second derivative needs the way to what made them
            inputs = [
                None if each is None else each.detach().requires_grad_(need)
                for each, need in zip(inputs, needs, strict=True)
            ]
        wanted = [each for each, need in zip(inputs, needs, strict=True) if need and each is not None]
        with torch.enable_grad(), ctx.autocast():
            value = ctx.again(*inputs)
        found = iter(torch.autograd.grad(value, wanted, gradient, create_graph=twice))
        return None, None, *(next(found) if need else None for need in needs)
