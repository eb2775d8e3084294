"""The candidates that leave one state, computed together; each function equals the modules it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.depthwise import depthwise, from_subgrids, to_subgrids
from lit_nas.engine.pointwise import pointwise_norm, takes_products
from lit_nas.operations import AvgPool, BatchNorm, DilatedConv, FactorizedReduce, MaxPool, SeparableConv, Zero
from lit_nas.operations.convolution import DepthwiseStage

__all__ = ("Source", "add", "weighted_sums")

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
    sums: list[Tensor | None] = [None] * len(operations)
    every = tuple(range(len(operations)))
    for group in [every] if batched else [(edge,) for edge in every]:
        totals: dict[tuple[tuple[int, ...], bool], Tensor] = {}
        for column in sorted({column for edge in group for column in operations[edge]}):
            edges = tuple(edge for edge in group if column in operations[edge])
            modules = [operations[edge][column] for edge in edges]
            scales = [weights[edge][column] for edge in edges]
            if isinstance(modules[0], Zero):  # adds nothing, but alone on an edge it keeps the graph connected
                edges = tuple(edge for edge in edges if len(operations[edge]) == 1)
            run = _RUN.get(type(modules[0]))
            if run is None or not all(map(_plain, modules)):
                for edge in edges:
                    sums[edge] = add(sums[edge], weights[edge][column] * _run_module(source, operations[edge][column]))
                continue
            term = run(source, modules, scales)
            key = edges, isinstance(modules[0], DilatedConv) and source.subgrids
            totals[key] = add(totals.get(key), term)
        for (edges, fine), total in totals.items():
            total = from_subgrids(total) if fine else total
            channels = total.shape[1] // len(edges)
            for position, edge in enumerate(edges):
                part = total if len(edges) == 1 else total.narrow(1, position * channels, channels)
                sums[edge] = add(sums[edge], part)
    return sums


def add(total: Tensor | None, term: Tensor) -> Tensor:
    """The sum of both, in place where autograd allows it; `total` must not be saved by what made it."""
    if total is None:
        return term
    return total + term if total._is_view() or total.dtype != term.dtype else total.add_(term)


def _plain(operation: nn.Module) -> bool:
    """Whether a module is what its class says: no hooks, and BatchNorm as it was built, without affine parameters."""
    for module in operation.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return False
        if isinstance(module, nn.modules.batchnorm._NormBase) and (type(module) is not BatchNorm or module.affine):
            return False
    return True


def _run_module(source: Source, operation: nn.Module) -> Tensor:
    if source.update:
        return operation(source.x)
    saved = [buffer.clone() for buffer in operation.buffers()]
    out = operation(source.x)
    for buffer, value in zip(operation.buffers(), saved, strict=True):
        buffer.data.copy_(value)  # not seen by autograd, like the update itself
    return out


def _separable(source: Source, operations: Sequence[SeparableConv], scales: Sequence[Tensor]) -> Tensor:
    first, second = zip(*operations, strict=True)
    x = _stage(source, _repeat(source.relu, len(first)), first, stride=source.stride)
    return _stage(source, F.relu_(x), second, scales)


def _dilated(source: Source, operations: Sequence[DilatedConv], scales: Sequence[Tensor]) -> Tensor:
    stages = [stage for (stage,) in operations]
    dilation = 2 if source.dilated is source.relu else 1
    return _stage(source, _repeat(source.dilated, len(stages)), stages, scales, dilation=dilation)


def _stage(
    source: Source,
    x: Tensor,
    stages: Sequence[DepthwiseStage],
    scales: Sequence[Tensor] | None = None,
    stride: int = 1,
    dilation: int = 1,
) -> Tensor:
    x = depthwise(x, _cat([stage.depthwise.weight for stage in stages]), stride, dilation)
    weight, norms = _cat([stage.pointwise.weight for stage in stages]), [stage.norm for stage in stages]
    if takes_products(x) and all(norm.training for norm in norms) and len({norm.eps for norm in norms}) == 1:
        weight = weight.view(len(stages), -1, weight.shape[1])
        scale = None if scales is None else torch.stack(tuple(scales))
        x, mean, variance = pointwise_norm(x, weight, scale, norms[0].eps)
        if source.update:
            _update(norms, mean, variance)
        return x
    return _norm(F.conv2d(x, weight, groups=len(stages)), norms, source.update, scales)


def _reduce(source: Source, operations: Sequence[FactorizedReduce], scales: Sequence[Tensor]) -> Tensor:
    halves = (
        F.conv2d(source.even, _cat([operation.conv_even.weight for operation in operations])),
        F.conv2d(source.odd, _cat([operation.conv_odd.weight for operation in operations])),
    )
    if len(operations) == 1:
        x = torch.cat(halves, 1)
    else:  # both halves of an edge side by side
        x = torch.stack([half.unflatten(1, (len(operations), -1)) for half in halves], 2).flatten(1, 3)
    return _norm(x, [operation.norm for operation in operations], source.update, scales)


def _skip(source: Source, operations: Sequence[nn.Identity], scales: Sequence[Tensor]) -> Tensor:
    return _spread(source.x, scales)


def _pool(source: Source, operations: Sequence[MaxPool | AvgPool], scales: Sequence[Tensor]) -> Tensor:
    x, norms = source.pool(operations[0]), [operation.norm for operation in operations]
    if isinstance(norms[0], nn.Identity):
        return _spread(x, scales)
    return _norm(_repeat(x, len(norms)), norms, source.update, scales)


_RUN: dict[type[nn.Module], Callable[[Source, Sequence[nn.Module], Sequence[Tensor]], Tensor]] = {
    AvgPool: _pool,
    DilatedConv: _dilated,
    FactorizedReduce: _reduce,
    MaxPool: _pool,
    SeparableConv: _separable,
    nn.Identity: _skip,
}


def _cat(weights: Sequence[Tensor]) -> Tensor:
    return weights[0] if len(weights) == 1 else torch.cat(tuple(weights))


def _repeat(x: Tensor, times: int) -> Tensor:
    """[B, C, H, W] -> [B, times * C, H, W], without leaving channels_last."""
    if times == 1:
        return x
    return x.permute(0, 2, 3, 1).unsqueeze(3).expand(-1, -1, -1, times, -1).flatten(3).permute(0, 3, 1, 2)


def _spread(x: Tensor, scales: Sequence[Tensor]) -> Tensor:
    """[B, C, H, W] and K weights -> [B, K * C, H, W], x times each of them."""
    if len(scales) == 1:
        return x * scales[0]
    wide = x.permute(0, 2, 3, 1).unsqueeze(3) * torch.stack(tuple(scales)).to(x.dtype).unsqueeze(1)
    return wide.flatten(3).permute(0, 3, 1, 2)


@torch.no_grad()
def _update(norms: Sequence[BatchNorm], mean: Tensor, variance: Tensor) -> None:
    """Moves running statistics to those of a batch, [K * C] each."""
    for norm, m, v in zip(norms, mean.chunk(len(norms)), variance.chunk(len(norms)), strict=True):
        if norm.track_running_stats and norm.running_mean is not None:
            norm.running_mean.lerp_(m.to(norm.running_mean.dtype), norm.momentum)
            norm.running_var.lerp_(v.to(norm.running_var.dtype), norm.momentum)


def _norm(x: Tensor, norms: Sequence[BatchNorm], update: bool, scales: Sequence[Tensor] | None) -> Tensor:
    """BatchNorm of the channels of each of K modules, times the weight of each; [B, K * C, H, W]."""
    modes = {(norm.training, norm.track_running_stats, norm.momentum, norm.eps) for norm in norms}
    if len(modes) > 1:
        parts = zip(x.chunk(len(norms), 1), norms, scales or [None] * len(norms), strict=True)
        return torch.cat([_norm(part, [norm], update, scale and [scale]) for part, norm, scale in parts], 1)
    training, tracked, momentum, eps = modes.pop()
    means = [norm.running_mean for norm in norms]
    variances = [norm.running_var for norm in norms]
    scale = mean = variance = None
    if scales is not None:
        channels = x.shape[1] // len(norms)
        stacked = scales[0].unsqueeze(0) if len(scales) == 1 else torch.stack(tuple(scales))
        scale = stacked.unsqueeze(1).expand(-1, channels).flatten().contiguous()  # the kernel ignores strides
        scale = scale.to(x.dtype) if x.dtype == torch.float64 else scale
    if means[0] is None:
        training = True
    elif not training or tracked:
        mean, variance = _cat(means), _cat(variances)
        if training and not update and len(norms) == 1:
            mean, variance = mean.clone(), variance.clone()
    out = F.batch_norm(x, mean, variance, scale, None, training, momentum, eps)
    if training and update and mean is not None and len(norms) > 1:
        with torch.no_grad():
            torch._foreach_copy_([*means, *variances], [*mean.chunk(len(norms)), *variance.chunk(len(norms))])
    return out
