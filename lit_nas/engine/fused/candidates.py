"""The candidates that leave a front, computed together; each function equals the modules it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.fused.depthwise import depthwise, from_subgrids
from lit_nas.engine.fused.plan import Alone, Bundle, Front, Group
from lit_nas.engine.fused.source import Source
from lit_nas.engine.fused.statistics import BatchStatistics, Moments, normalise, without_bias
from lit_nas.internals import is_view
from lit_nas.operations import AvgPool, DilatedConv, FactorizedReduce, MaxPool, ReLUConvBN, SeparableConv, pointwise

__all__ = ("Run", "add", "unchanged_buffers", "weighted_sums")

NARROW = 8
"""On a CPU groups of at most so many channels, those of partial channels, run as one matrix product."""
Weights = Mapping[Group, Sequence[Tensor]]
"""For each group of convolutions the kernels, those of K modules side by side."""


@dataclass(frozen=True, eq=False)
class Run:
    """A front with its values."""

    front: Front
    source: Source
    """The states."""
    plain: tuple[int, Tensor]
    """Mixing weights of the front's edges, [O', K], with the column of their first row."""
    scales: Mapping[int, Tensor]
    """By column, those that are the scales of BatchNorms, each repeated for all channels, [K, C]."""
    weights: Weights
    """Of the convolutions."""
    statistics: BatchStatistics
    """Where the moments of the batch go."""
    again: bool
    """Whether this is a second run on the same batch, for the backward pass."""

    def factor(self, column: int, member: int) -> Tensor:
        """Mixing weight of one candidate, 0-dim."""
        first, factors = self.plain
        return factors[column - first, member]

    def factors(self, columns: Sequence[int]) -> Tensor:
        """Mixing weights of some columns on all edges, [J, K]."""
        first, factors = self.plain
        rows = [column - first for column in columns]
        if rows == list(range(len(factors))):
            return factors
        return torch.stack([factors[row] for row in rows])

    def scale(self, group: Group) -> Tensor:
        """Mixing weights of a group's edges, each repeated for all channels, [K * C]."""
        row = self.scales[group.column]
        if len(group.members) < len(row):
            each = row.unbind()
            row = torch.stack([each[member] for member in group.members])
        return row.flatten()

    def moments(self, group: Group) -> list[Moments]:
        """What each BatchNorm of a group needs to know."""
        return [self.statistics.of(group, index) for index in range(len(group.norms))]


def weighted_sums(run: Run) -> list[tuple[tuple[int, ...], Tensor]]:
    """Weighted sums of the operations of a front's edges: terms of N nodes side by side, [B, N * C, H', W']."""
    targets = run.front.targets
    sums: list[tuple[tuple[int, ...], Tensor]] = []
    for bundle in run.front.bundles:
        for members, total in _totals(run, bundle):
            nodes = tuple(targets[member] for member in members)
            if run.front.parallel and len(members) == len(targets):  # one sum over the states for all nodes
                count, channels = run.source.count, run.source.channels
                total = total.unflatten(1, (count, -1, channels)).sum(1).flatten(1, 2)
                nodes = nodes[: len(nodes) // count]
            sums.append((nodes, total))
        sums += [((targets[alone.member],), _run_alone(run, alone)) for alone in bundle.alone]
    return sums


def add(total: Tensor | None, term: Tensor) -> Tensor:
    """The sum of both, in place where autograd allows it; `total` must not be saved by what made it."""
    if total is None:
        return term
    return total + term if is_view(total) or total.dtype != term.dtype else total.add_(term)


@contextmanager
def unchanged_buffers(module: nn.Module, again: bool) -> Iterator[None]:
    """Puts the buffers of a module back, if this is the second run of it on the same batch."""
    saved = [buffer.clone() for buffer in module.buffers()] if again else []
    try:
        yield
    finally:  # a second run is left by an exception when the backward pass has all that it needs
        for buffer, value in zip(module.buffers(), saved, strict=False):  # nothing was saved in the first run
            buffer.data.copy_(value)  # not seen by autograd, like the update itself


def _totals(run: Run, bundle: Bundle) -> list[tuple[tuple[int, ...], Tensor]]:
    """Sums of the groups on the same edges: places of K edges, and [B, K * C, H', W']."""
    totals: dict[tuple[tuple[int, ...], bool], Tensor] = {}
    narrow = _narrow_groups(run, bundle)
    mixed = [] if narrow else _mixable(run, bundle)
    for group in bundle.groups:
        if group not in mixed and group not in narrow.get(group.members, ()):
            key = group.members, group.kind is DilatedConv and run.source.subgrids
            totals[key] = _RUN[group.kind](run, group, totals.get(key))
    if mixed:
        key = mixed[0].members, False
        totals[key] = _mix(run, mixed, totals.get(key))
    for members, groups in narrow.items():
        totals[members, False] = _mix_narrow(run, groups, totals.get((members, False)))
    return [(members, from_subgrids(total) if fine else total) for (members, fine), total in totals.items()]


def _run_alone(run: Run, alone: Alone) -> Tensor:
    source, operation = run.source, alone.operation
    x = source.x if source.count == 1 else source.x.chunk(source.count, 1)[run.front.positions[alone.member]]
    with unchanged_buffers(operation, run.again):
        out = operation(x)
    return run.factor(alone.column, alone.member) * out


def _separable(run: Run, group: Group, total: Tensor | None) -> Tensor:
    source = run.source
    x = source.wide(source.relu, group.positions)
    return add(
        total, source.run(_stages, x, run.weights[group], run.moments(group), run.scale(group), source.stride, 1)
    )


def _dilated(run: Run, group: Group, total: Tensor | None) -> Tensor:
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
    if channels <= NARROW:  # one product with the kernels along a diagonal: zeros cost less than copies for a batch
        diagonal = torch.diag_embed(weight.view(groups, -1, channels).permute(1, 2, 0))  # [C', C, K, K]
        return F.linear(pixels, diagonal.permute(2, 0, 3, 1).reshape(len(weight), -1)).permute(0, 3, 1, 2)
    y = torch.bmm(pixels.reshape(-1, groups, channels).transpose(0, 1), weight.view(groups, -1, channels).mT)
    return y.transpose(0, 1).reshape(*pixels.shape[:3], -1).permute(0, 3, 1, 2)


def _shared(source: Source, x: Tensor, positions: tuple[int, ...]) -> Tensor:
    """What a convolution that mixes channels reads: each state once if they have equally many edges."""
    return x if source.times(positions) else source.wide(x, positions)


def _reduce(run: Run, group: Group, total: Tensor | None) -> Tensor:
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


def _convolution(run: Run, group: Group, total: Tensor | None) -> Tensor:
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


def _shared_result(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """Pools and identities, whose result the edges share up to their weights."""
    if not group.narrow:
        x = run.source.wide(run.source.pool(group.pool), group.positions)
        return add(total, normalise(x, run.moments(group)[0], run.scale(group)))
    return _spread(run, group, _narrow(run, group), total)


def _narrow(run: Run, group: Group) -> Tensor:
    """What the edges share, before their weights: [B, S * C, H, W]."""
    if group.kind is nn.Identity:
        return run.source.x
    x = run.source.pool(group.pool)
    return normalise(x, run.moments(group)[0]) if group.norms else x


def _spread(run: Run, group: Group, x: Tensor, total: Tensor | None) -> Tensor:
    """Adds [B, S * C, H, W], times the weight of each of K edges, to [B, K * C, H, W]."""
    source, scales = run.source, [run.factor(group.column, member) for member in group.members]
    if len(scales) == 1:
        x = x if source.count == 1 else x.chunk(source.count, 1)[group.positions[0]]
        if total is None or is_view(total) or not total.dtype == x.dtype == scales[0].dtype:
            return add(total, x * scales[0])
        return total.addcmul_(x, scales[0])
    factors = torch.stack(scales).to(x.dtype)
    if not (times := source.times(group.positions)):
        factors = factors.repeat_interleave(source.channels).view(-1, 1, 1)
        return add(total, source.wide(x, group.positions) * factors)
    if source.channels_last:
        wide = x.permute(0, 2, 3, 1).unflatten(3, (source.count, 1, -1)) * factors.view(-1, times, 1)
        return add(total, wide.flatten(3).permute(0, 3, 1, 2))
    wide = x.unflatten(1, (source.count, 1, -1)) * factors.view(-1, times, 1, 1, 1)
    return add(total, wide.flatten(1, 3))


def _mixable(run: Run, bundle: Bundle) -> list[Group]:
    """Groups that `_mix` takes: those without a convolution on all edges of a batch."""
    count = len(run.front.edges)
    if not run.front.joined or not run.source.times(run.front.positions):
        return []
    found = [group for group in bundle.groups if len(group.members) == count and group.narrow]
    return found if len(found) > 1 else []


def _narrow_groups(run: Run, bundle: Bundle) -> dict[tuple[int, ...], list[Group]]:
    """By their edges, groups without a convolution that `_mix_narrow` takes: of few channels, on a CPU."""
    source = run.source
    few = source.count == 1 and source.channels <= NARROW and source.channels_last
    if not few or source.x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return {}
    found: dict[tuple[int, ...], list[Group]] = {}
    for group in bundle.groups:
        if group.narrow:
            found.setdefault(group.members, []).append(group)
    return {members: groups for members, groups in found.items() if len(groups) > 1}


def _mix_narrow(run: Run, groups: Sequence[Group], total: Tensor | None) -> Tensor:
    """Adds what J groups share to their K edges, as one product of all pixels with a matrix of mixing weights.

    Loops over so few channels cost more than the zeros of that matrix.
    """
    source, members = run.source, groups[0].members
    pools = [group for group in groups if group.pooled]
    moments = run.statistics.of_pools(pools) if len(pools) > 1 else None
    if moments is None:
        shared = [_narrow(run, group) for group in groups]
    else:  # one BatchNorm for all pools
        groups = [*pools, *(group for group in groups if not group.pooled)]
        shared = [normalise(torch.cat([source.pool(group.pool) for group in pools], 1), moments)]
        shared += [_narrow(run, group) for group in groups[len(pools) :]]
    factors = torch.stack([torch.stack([run.factor(group.column, member) for group in groups]) for member in members])
    wide = factors.to(source.x.dtype).unsqueeze(2).expand(-1, -1, source.channels)  # [K, J, C]
    matrix = torch.diag_embed(wide).permute(0, 2, 1, 3).reshape(len(members) * source.channels, -1)  # [K * C, J * C]
    return add(total, F.linear(torch.cat(shared, 1).permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2))


def _mix(run: Run, groups: Sequence[Group], total: Tensor | None) -> Tensor:
    """Adds what J groups share to all edges at once, as a matrix product: a small one over very long rows."""
    source, count = run.source, run.source.count
    forth, back = (
        ((2, 1, 0, 4, 5, 3), (2, 0, 1, 5, 3, 4)) if source.channels_last else ((2, 1, 0, 3, 4, 5), (2, 0, 1, 3, 4, 5))
    )
    pools = [group for group in groups if group.pooled]
    moments = run.statistics.of_pools(pools) if len(pools) > 1 else None
    if moments is None:
        shared = [_narrow(run, group).unflatten(1, (1, count, -1)) for group in groups]
    else:  # one BatchNorm for all pools
        pooled = normalise(torch.cat([source.pool(group.pool) for group in pools], 1), moments)
        groups = [*pools, *(group for group in groups if not group.pooled)]
        shared = [pooled.unflatten(1, (len(pools), count, -1))]
        shared += [_narrow(run, group).unflatten(1, (1, count, -1)) for group in groups[len(pools) :]]
    rows = torch.cat([each.permute(forth) for each in shared], 1)  # [S, J, B, H, W, C] or [S, J, B, C, H, W]
    factors = run.factors([group.column for group in groups]).to(rows.dtype)
    factors = factors.unflatten(1, (count, -1)).permute(1, 2, 0)  # [S, K / S, J]
    product = torch.bmm(factors, rows.flatten(2))  # [S, K / S, B * H * W * C]
    terms = product.unflatten(2, rows.shape[2:]).permute(back)  # [B, S, K / S, C, H, W]
    if total is None:
        layout = torch.channels_last if source.channels_last else torch.contiguous_format
        return terms.flatten(1, 3).contiguous(memory_format=layout)
    return (total.unflatten(1, terms.shape[1:4]) + terms).flatten(1, 3)


_RUN: Mapping[type[nn.Module], Callable[[Run, Group, Tensor | None], Tensor]] = {
    AvgPool: _shared_result,
    DilatedConv: _dilated,
    FactorizedReduce: _reduce,
    MaxPool: _shared_result,
    ReLUConvBN: _convolution,
    SeparableConv: _separable,
    nn.Identity: _shared_result,
}
