"""Pointwise convolution and BatchNorm as a few matrix products.

Mean and variance of y = W z follow from mean and covariance of z, so BatchNorm becomes a change of W and a shift. The
output of the convolution is never written, neither forward nor backward, and z is all that is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ("pointwise_norm", "takes_products")

CHUNK = 2048
"""Pixels whose products are summed in one piece, for threads to share the work and for accuracy."""


def takes_products(x: Tensor) -> bool:
    """Whether `pointwise_norm` is exact and fast enough: full precision on a CPU."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and torch.get_float32_matmul_precision() == "highest"
    )


def pointwise_norm(x: Tensor, weight: Tensor, scale: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """K pointwise convolutions, each followed by BatchNorm over the batch and times a scalar.

    Args:
        x: [B, K * C, H, W], best in channels_last.
        weight: [K, C, C], output channels first.
        scale: [K]; None means ones.
        eps: Added to the variance.

    Returns:
        [B, K * C, H, W], and mean and unbiased variance of the outputs of the convolutions, each [K * C].
    """
    scale = x.new_ones(len(weight)) if scale is None else scale
    return _PointwiseNorm.apply(x, weight, scale.to(x.dtype), eps)


def _plain(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    channels = weight.shape[1]
    y = F.conv2d(x, weight.reshape(-1, channels, 1, 1), groups=len(weight))
    factor = scale.unsqueeze(1).expand(-1, channels).flatten().contiguous()
    return F.batch_norm(y, None, None, factor, None, True, 0.0, eps)


class _PointwiseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        z = _pixels(x, len(weight))
        count = z.shape[1]
        mean_z = _sums(z).div_(count)
        covariance = _products(z, z).div_(count).baddbmm_(mean_z.unsqueeze(2), mean_z.unsqueeze(1), alpha=-1)
        wide = weight.double()
        mean = torch.bmm(wide, mean_z.unsqueeze(2)).squeeze(2)
        variance = torch.bmm(wide, covariance).mul_(wide).sum(2).clamp_min_(0)
        inverse = (variance + eps).rsqrt_()
        factor = inverse * scale.unsqueeze(1)
        out = torch.empty_like(x, memory_format=torch.channels_last)
        _transform(z, (factor.unsqueeze(2) * wide).transpose(1, 2), _pixels(out, len(weight)), -factor * mean)
        ctx.save_for_backward(x, weight, scale, mean_z, covariance, mean, inverse)
        ctx.eps = eps
        unbiased = variance.mul_(count / max(count - 1, 1))
        mean, unbiased = mean.flatten().to(x.dtype), unbiased.flatten().to(x.dtype)
        ctx.mark_non_differentiable(mean, unbiased)
        ctx.set_materialize_grads(False)
        return out, mean, unbiased

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return None, None, None, None
        x, weight, scale, mean_z, covariance, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again: in operations that know how
            return _twice(ctx, gradient, x, weight, scale)
        g, z = _pixels(gradient, len(weight)), _pixels(x, len(weight))
        count, wide = z.shape[1], weight.double()
        sums, products = _sums(g), _products(g, z)
        # sum of gradient times normalised output, for each channel
        aligned = inverse * ((products * wide).sum(2) - mean * sums)
        factor = inverse * scale.unsqueeze(1)
        slope = factor * inverse * aligned / count
        of_x = of_weight = of_scale = None
        if ctx.needs_input_grad[0]:
            shift = torch.bmm((slope * mean - factor * sums / count).unsqueeze(1), wide).squeeze(1)
            of_x = torch.empty_like(x, memory_format=torch.channels_last)
            pixels = _pixels(of_x, len(weight))
            _transform(g, factor.unsqueeze(2) * wide, pixels, shift)
            _transform(z, -torch.bmm((slope.unsqueeze(2) * wide).transpose(1, 2), wide), pixels)
        if ctx.needs_input_grad[1]:
            of_weight = factor.unsqueeze(2) * (products - sums.unsqueeze(2) * mean_z.unsqueeze(1))
            of_weight = (of_weight - count * slope.unsqueeze(2) * torch.bmm(wide, covariance)).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            of_scale = aligned.sum(1).to(scale.dtype)
        return of_x, of_weight, of_scale, None


def _twice(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, scale: Tensor) -> tuple[Tensor | None, ...]:
    needed = [tensor for tensor, need in zip((x, weight, scale), ctx.needs_input_grad, strict=False) if need]
    out = _plain(x, weight, scale, ctx.eps)
    found = iter(torch.autograd.grad(out, needed, gradient, create_graph=True))
    return (*(next(found) if need else None for need in ctx.needs_input_grad[:3]), None)


def _pixels(x: Tensor, groups: int) -> Tensor:
    """[B, K * C, H, W] -> [K, B * H * W, C], a view in channels_last."""
    return x.permute(0, 2, 3, 1).reshape(-1, groups, x.shape[1] // groups).transpose(0, 1)


def _sums(a: Tensor) -> Tensor:
    """[K, N, C] -> sums over N in float64, [K, C]."""
    groups, count, channels = a.shape
    flat = a.transpose(0, 1).reshape(count, -1)
    if count % CHUNK == 0:
        flat = flat.view(-1, CHUNK, groups * channels)
        return torch.matmul(flat.new_ones(1, CHUNK), flat).sum(0, dtype=torch.float64).view(groups, channels)
    return torch.mm(flat.new_ones(1, count), flat).double().view(groups, channels)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """[K, N, C] twice -> sums over N of their outer products in float64, [K, C, C]."""
    groups, count, channels = a.shape
    if groups == 1 and count % CHUNK == 0:
        a, b = a.view(-1, CHUNK, channels), b.view(-1, CHUNK, channels)
        return torch.bmm(a.transpose(1, 2), b).sum(0, keepdim=True, dtype=torch.float64)
    return torch.bmm(a.transpose(1, 2), b).double()


def _transform(a: Tensor, matrix: Tensor, into: Tensor, shift: Tensor | None = None) -> None:
    """Writes [K, N, C] times [K, C, C] plus a shift [K, C] into a view of pixels, or adds it if there is no shift."""
    matrix = matrix.to(a.dtype)
    if shift is not None and len(a) == 1:
        torch.addmm(shift[0].to(a.dtype), a[0], matrix[0], out=into[0])
        return
    if shift is not None:
        into.copy_(shift.unsqueeze(1))
    into[0].addmm_(a[0], matrix[0]) if len(a) == 1 else into.baddbmm_(a, matrix)
