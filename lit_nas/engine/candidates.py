"""The candidates that leave one state, computed together; each function equals the modules it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.depthwise import depthwise, from_subgrids
from lit_nas.engine.source import Source, repeat
from lit_nas.operations import (
    AvgPool,
    BatchNorm,
    DilatedConv,
    FactorizedReduce,
    MaxPool,
    PointwiseConv,
    ReLUConvBN,
    SeparableConv,
    Zero,
    pointwise,
)
from lit_nas.operations.convolution import DepthwiseStage

__all__ = ("add", "weighted_sums")

Operations = Sequence[dict[int, nn.Module]]
"""For each edge its active operations by column."""


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
    sums: list[Tensor | None] = [None] * len(operations)
    every = tuple(range(len(operations)))
    for group in [every] if batched else [(edge,) for edge in every]:
        totals: dict[tuple[tuple[int, ...], bool], Tensor] = {}
        for column in sorted({column for edge in group for column in operations[edge]}):
            edges = tuple(edge for edge in group if column in operations[edge])
            modules = [operations[edge][column] for edge in edges]
            scales = [weights[edge][column] for edge in edges]
            run = _RUN.get(type(modules[0])) if _alike(modules) else None
            if run is None:
                for edge, module, scale in zip(edges, modules, scales, strict=True):
                    # no connection adds nothing, but alone on an edge it keeps the graph connected
                    if type(module) is not Zero or not _plain(module) or len(operations[edge]) == 1:
                        sums[edge] = add(sums[edge], scale * _run_module(source, module))
                continue
            key = edges, isinstance(modules[0], DilatedConv) and source.subgrids
            totals[key] = run(source, modules, scales, totals.get(key))
        for (edges, fine), total in totals.items():
            total = from_subgrids(total) if fine else total
            parts = [total] if len(edges) == 1 else total.split(total.shape[1] // len(edges), 1)
            for edge, part in zip(edges, parts, strict=True):
                sums[edge] = add(sums[edge], part)
    return sums


def add(total: Tensor | None, term: Tensor) -> Tensor:
    """The sum of both, in place where autograd allows it; `total` must not be saved by what made it."""
    if total is None:
        return term
    return total + term if total._is_view() or total.dtype != term.dtype else total.add_(term)


def _alike(operations: Sequence[nn.Module]) -> bool:
    """Whether operations can run together: of one kind, and as they were built."""
    first = operations[0]
    if isinstance(first, (MaxPool, AvgPool)):
        kinds = {(type(operation), operation.kernel_size, type(operation.norm)) for operation in operations}
    elif isinstance(first, ReLUConvBN):
        kinds = {(type(operation), operation.conv.kernel_size) for operation in operations}
    else:
        kinds = {type(operation) for operation in operations}
    return len(kinds) == 1 and all(map(_plain, operations))


def _plain(module: nn.Module) -> bool:
    """Whether a module is what its class says: no hooks, no replaced parts, no affine BatchNorm."""
    if type(module) not in _PARTS or (type(module) is BatchNorm and (module.affine or module.momentum is None)):
        return False
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return False
    return all(map(_plain, module._modules.values()))


def _run_module(source: Source, operation: nn.Module) -> Tensor:
    if source.update:
        return operation(source.x)
    saved = [buffer.clone() for buffer in operation.buffers()]
    out = operation(source.x)
    for buffer, value in zip(operation.buffers(), saved, strict=True):
        buffer.data.copy_(value)  # not seen by autograd, like the update itself
    return out


def _separable(
    source: Source, operations: Sequence[SeparableConv], scales: Sequence[Tensor], total: Tensor | None
) -> Tensor:
    x = source.wide(False, len(operations))
    return add(total, source.run(_stages, x, operations, scales, source.stride, 1, source.update))


def _dilated(
    source: Source, operations: Sequence[DilatedConv], scales: Sequence[Tensor], total: Tensor | None
) -> Tensor:
    x, dilation = source.wide(True, len(operations)), 2 if source.dilated is source.relu else 1
    return add(total, source.run(_stages, x, operations, scales, 1, dilation, source.update))


def _stages(
    x: Tensor,
    operations: Sequence[nn.Sequential],
    scales: Sequence[Tensor],
    stride: int,
    dilation: int,
    update: bool,
) -> Tensor:
    """Depthwise stages after a ReLU of K operations, times their weights: [B, K * C, H, W] -> [B, K * C, H', W']."""
    last = len(operations[0]) - 1
    for index, stages in enumerate(zip(*operations, strict=True)):
        x = F.relu_(x) if index else x
        x = depthwise(x, _cat([stage.depthwise.weight for stage in stages]), 1 if index else stride, dilation)
        x = _pointwise(x, _cat([stage.pointwise.weight for stage in stages]), len(stages))
        x = _norm(x, [stage.norm for stage in stages], update, scales if index == last else None)
    return x


def _pointwise(x: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    if x.device.type != "cpu":
        return F.conv2d(x, weight, groups=groups)
    pixels, channels = x.permute(0, 2, 3, 1), weight.shape[1]
    if groups == 1:  # plain matrix products have less overhead than the library's convolution
        return F.linear(pixels, weight.flatten(1)).permute(0, 3, 1, 2)
    y = torch.bmm(pixels.reshape(-1, groups, channels).transpose(0, 1), weight.view(groups, -1, channels).mT)
    return y.transpose(0, 1).reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2)


def _reduce(
    source: Source, operations: Sequence[FactorizedReduce], scales: Sequence[Tensor], total: Tensor | None
) -> Tensor:
    halves = (
        _pointwise(source.even, _cat([operation.conv_even.weight for operation in operations])),
        _pointwise(source.odd, _cat([operation.conv_odd.weight for operation in operations])),
    )
    if len(operations) == 1:
        x = torch.cat(halves, 1)
    else:  # both halves of an edge side by side
        x = torch.stack([half.unflatten(1, (len(operations), -1)) for half in halves], 2).flatten(1, 3)
    return add(total, _norm(x, [operation.norm for operation in operations], source.update, scales))


def _convolution(
    source: Source, operations: Sequence[ReLUConvBN], scales: Sequence[Tensor], total: Tensor | None
) -> Tensor:
    return add(total, source.run(_convolve, source.relu, operations, scales, source.stride, source.update))


def _convolve(
    x: Tensor, operations: Sequence[ReLUConvBN], scales: Sequence[Tensor], stride: int, update: bool
) -> Tensor:
    """ReLUConvBN after its ReLU, of K operations, times their weights: [B, C, H, W] -> [B, K * C, H', W']."""
    norms, weight = (
        [operation.norm for operation in operations],
        _cat([operation.conv.weight for operation in operations]),
    )
    biases = [operation.conv.bias for operation in operations]
    bias = None if any(b is None for b in biases) else _cat(biases)
    by_batch = all(norm.training or norm.running_mean is None for norm in norms)
    inside = None if by_batch else bias  # normalising by the batch takes a bias out again
    if weight.shape[-1] == 1 and stride == 1 and inside is None:
        x = _pointwise(x, weight)
    elif weight.shape[-1] == 1:
        x = pointwise(x, weight, inside, stride)
    else:
        x = F.conv2d(x, weight, inside, stride, weight.shape[-1] // 2)
    return _norm(x, norms, update, scales, bias if by_batch else None)


def _skip(source: Source, operations: Sequence[nn.Identity], scales: Sequence[Tensor], total: Tensor | None) -> Tensor:
    return _spread(total, source.x, scales)


def _pool(
    source: Source, operations: Sequence[MaxPool | AvgPool], scales: Sequence[Tensor], total: Tensor | None
) -> Tensor:
    norms = [operation.norm for operation in operations]
    if isinstance(norms[0], nn.Identity):
        return _spread(total, source.pool(operations[0]), scales)
    if not all(norm.training and norm.eps == norms[0].eps for norm in norms):
        return add(total, _norm(repeat(source.pool(operations[0]), len(norms)), norms, source.update, scales))
    x, mean, variance = source.normalised_pool(operations[0])
    for norm in norms:
        if source.update and norm.track_running_stats:
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance, norm.momentum)
    return _spread(total, x, scales)


_RUN: dict[type[nn.Module], Callable[..., Tensor]] = {
    AvgPool: _pool,
    DilatedConv: _dilated,
    FactorizedReduce: _reduce,
    MaxPool: _pool,
    ReLUConvBN: _convolution,
    SeparableConv: _separable,
    nn.Identity: _skip,
}
_PARTS = {*_RUN, BatchNorm, DepthwiseStage, PointwiseConv, nn.Conv2d, Zero}


def _cat(weights: Sequence[Tensor]) -> Tensor:
    return weights[0] if len(weights) == 1 else torch.cat(tuple(weights))


def _spread(total: Tensor | None, x: Tensor, scales: Sequence[Tensor]) -> Tensor:
    """Adds [B, C, H, W], times each of K weights, to [B, K * C, H, W]."""
    if len(scales) > 1:
        wide = x.permute(0, 2, 3, 1).unsqueeze(3) * torch.stack(tuple(scales)).to(x.dtype).unsqueeze(1)
        return add(total, wide.flatten(3).permute(0, 3, 1, 2))
    if total is None or total._is_view() or not total.dtype == x.dtype == scales[0].dtype:
        return add(total, x * scales[0])
    return total.addcmul_(x, scales[0])


def _norm(
    x: Tensor,
    norms: Sequence[BatchNorm],
    update: bool,
    scales: Sequence[Tensor] | None,
    left_out: Tensor | None = None,
) -> Tensor:
    """BatchNorm of the channels of each of K modules, times the weight of each; [B, K * C, H, W].

    `left_out`, [K * C], is a bias that `x` lacks because normalising by the batch would take it out: only the running
    mean sees it, and its gradient is zero.
    """
    modes = {(norm.training, norm.track_running_stats, norm.momentum, norm.eps) for norm in norms}
    if len(modes) > 1:
        each = [None] * len(norms)
        shifts = each if left_out is None else left_out.chunk(len(norms))
        parts = zip(x.chunk(len(norms), 1), norms, scales or each, shifts, strict=True)
        return torch.cat([_norm(part, [norm], update, scale and [scale], s) for part, norm, scale, s in parts], 1)
    training, tracked, momentum, eps = modes.pop()
    means = [norm.running_mean for norm in norms]
    variances = [norm.running_var for norm in norms]
    scale = mean = variance = None
    if scales is not None:
        channels = x.shape[1] // len(norms)
        stacked = scales[0].unsqueeze(0) if len(scales) == 1 else torch.stack(tuple(scales))
        scale = stacked.unsqueeze(1).expand(-1, channels).flatten().contiguous()  # the kernel ignores strides
        scale = scale if left_out is None else scale + 0.0 * left_out
        scale = scale.to(x.dtype) if x.dtype == torch.float64 else scale
    if means[0] is None:
        training = True
    elif not training or tracked:
        mean, variance = _cat(means), _cat(variances)
        if training and len(norms) == 1 and (not update or left_out is not None):
            mean, variance = mean.clone(), variance.clone()
    out = F.batch_norm(x, mean, variance, scale, None, training, momentum, eps)
    if training and update and mean is not None and (len(norms) > 1 or left_out is not None):
        with torch.no_grad():
            mean = mean if left_out is None else mean + momentum * left_out
            torch._foreach_copy_([*means, *variances], [*mean.chunk(len(norms)), *variance.chunk(len(norms))])
    return out
