"""Candidates that convolve: K modules of one kind side by side, each function equal to the modules it is given.

Kernels of K modules are one tensor, so a group is one call of the library for each of its convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_nas.engine.fused.plan import Group
from lit_nas.engine.fused.run import SLIM, Run, add
from lit_nas.engine.fused.source import Source
from lit_nas.engine.fused.statistics import Moments, normalise, without_bias
from lit_nas.operations import pointwise
from lit_nas.operations.depthwise import depthwise

__all__ = ("convolution", "dilated", "factorized_reduce", "separable")


def separable(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """`SeparableConv`: adds [B, K * C, H', W'] to the sum."""
    source = run.source
    x = source.wide(source.relu, group.positions)
    return add(
        total, source.run(_stages, x, run.weights[group], run.moments(group), run.scale(group), source.stride, 1)
    )


def dilated(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """`DilatedConv`: adds [B, K * C, H', W'] to the sum, which is of subgrids where the source is."""
    source = run.source
    x, dilation = source.wide(source.dilated, group.positions), 2 if source.dilated is source.relu else 1
    return add(total, source.run(_stages, x, run.weights[group], run.moments(group), run.scale(group), 1, dilation))


def _stages(
    x: Tensor, weights: Sequence[Tensor], moments: Sequence[Moments], scale: Tensor, stride: int, dilation: int
) -> Tensor:
    """Depthwise stages after a ReLU of K operations, times their weights: [B, K * C, H, W] -> [B, K * C, H', W'].

    Args:
        x: After the ReLU.
        weights: Depthwise and pointwise kernels in turn, those of K operations side by side.
        moments: Of each stage.
        scale: Mixing weights, [K * C].
        stride: Of the first depthwise kernel.
        dilation: Of all of them.
    """
    last = len(moments) - 1
    for index, each in enumerate(moments):
        x = F.relu_(x) if index else x
        x = depthwise(x, weights[2 * index], 1 if index else stride, dilation)
        x = _pointwise(x, weights[2 * index + 1])
        x = normalise(x, each, scale if index == last else None)
    return x


def _pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution 1x1 in as many groups as the channels of `x` are times those of the kernel."""
    groups = x.shape[1] // weight.shape[1]
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    if x.device.type != "cpu" or not channels_last:
        return F.conv2d(x, weight, groups=groups)
    pixels, channels = x.permute(0, 2, 3, 1), weight.shape[1]
    if groups == 1:  # plain matrix products have less overhead than the library's convolution
        return F.linear(pixels, weight.flatten(1)).permute(0, 3, 1, 2)
    if channels <= SLIM:  # one product with the kernels along a diagonal: zeros cost less than copies for a batch
        diagonal = torch.diag_embed(weight.view(groups, -1, channels).permute(1, 2, 0))  # [C', C, K, K]
        return F.linear(pixels, diagonal.permute(2, 0, 3, 1).reshape(len(weight), -1)).permute(0, 3, 1, 2)
    y = torch.bmm(pixels.reshape(-1, groups, channels).transpose(0, 1), weight.view(groups, -1, channels).mT)
    return y.transpose(0, 1).reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2)


def _shared(source: Source, x: Tensor, positions: tuple[int, ...]) -> Tensor:
    """What a convolution that mixes channels reads: each state once if they have equally many edges."""
    return x if source.times(positions) else source.wide(x, positions)


def factorized_reduce(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """`FactorizedReduce`: adds [B, K * C, H', W'] to the sum."""
    source, (even, odd) = run.source, run.weights[group]
    halves = (
        _pointwise(_shared(source, source.even, group.positions), even),
        _pointwise(_shared(source, source.odd, group.positions), odd),
    )
    if len(group.members) == 1:
        x = torch.cat(halves, 1)
    else:  # both halves of an edge side by side
        x = torch.stack([half.unflatten(1, (len(group.members), -1)) for half in halves], 2).flatten(1, 3)
    return add(total, normalise(x, run.moments(group)[0], run.scale(group)))


def convolution(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """`ReLUConvBN`: adds [B, K * C, H', W'] to the sum."""
    source, moments = run.source, run.moments(group)[0]
    x, biases = _shared(source, source.relu, group.positions), group.biases
    bias = None if biases is None else biases[0] if len(biases) == 1 else torch.cat(biases)
    return add(total, source.run(_convolve, x, run.weights[group][0], bias, moments, run.scale(group), source.stride))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, moments: Moments, scale: Tensor, stride: int) -> Tensor:
    """ReLUConvBN after its ReLU, of K operations, times their weights: [B, C, H, W] -> [B, K * C, H', W']."""
    if moments.by_batch and bias is not None:
        scale, bias = without_bias(scale, bias), None
    groups, size = x.shape[1] // weight.shape[1], weight.shape[-1]
    if size == 1 and stride == 1 and bias is None:
        x = _pointwise(x, weight)
    elif size == 1:
        x = pointwise(x, weight, bias, stride, groups)
    else:
        x = F.conv2d(x, weight, bias, stride, size // 2, 1, groups)
    return normalise(x, moments, scale)
