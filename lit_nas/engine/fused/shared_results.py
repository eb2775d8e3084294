"""Pools and identities: what they compute of a state is shared by all edges that leave it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.engine.fused.plan import Bundle, Group
from lit_nas.engine.fused.run import SLIM, Run, add
from lit_nas.engine.fused.statistics import normalise
from lit_nas.internals import is_view

__all__ = ("mix", "mix_slim", "mixable", "shared_result", "slim_groups")


def shared_result(run: Run, group: Group, total: Tensor | None) -> Tensor:
    """Pools and identities: adds [B, K * C, H', W'] to the sum."""
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


def mixable(run: Run, bundle: Bundle) -> list[Group]:
    """Groups that `mix` takes: those without a convolution on all edges of a batch."""
    count = len(run.front.edges)
    if not run.front.joined or not run.source.times(run.front.positions):
        return []
    found = [group for group in bundle.groups if len(group.members) == count and group.narrow]
    return found if len(found) > 1 else []


def slim_groups(run: Run, bundle: Bundle) -> dict[tuple[int, ...], list[Group]]:
    """By their edges, groups without a convolution that `mix_slim` takes: of few channels, on a CPU."""
    source = run.source
    slim = source.count == 1 and source.channels <= SLIM and source.channels_last
    if not slim or source.x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return {}
    found: dict[tuple[int, ...], list[Group]] = {}
    for group in bundle.groups:
        if group.narrow:
            found.setdefault(group.members, []).append(group)
    return {members: groups for members, groups in found.items() if len(groups) > 1}


def mix_slim(run: Run, groups: Sequence[Group], total: Tensor | None) -> Tensor:
    """Adds what J groups share to their K edges, as one product of all pixels with a matrix of mixing weights.

    Loops over so few channels cost more than the zeros of that matrix.
    """
    source, members = run.source, groups[0].members
    groups, parts = _side_by_side(run, groups)  # [B, J', 1, C, H, W] each
    shared = torch.cat([part.flatten(1, 3) for part in parts], 1)
    factors = torch.stack([torch.stack([run.factor(group.column, member) for group in groups]) for member in members])
    wide = factors.to(source.x.dtype).unsqueeze(2).expand(-1, -1, source.channels)  # [K, J, C]
    matrix = torch.diag_embed(wide).permute(0, 2, 1, 3).reshape(len(members) * source.channels, -1)  # [K * C, J * C]
    return add(total, F.linear(shared.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2))


def mix(run: Run, groups: Sequence[Group], total: Tensor | None) -> Tensor:
    """Adds what J groups share to all edges at once, as a matrix product: a small one over very long rows."""
    source, count = run.source, run.source.count
    # [B, J, S, C, H, W] -> [S, J, B, ...] and back, with the last three in the order of the memory
    forth, back = (
        ((2, 1, 0, 4, 5, 3), (2, 0, 1, 5, 3, 4)) if source.channels_last else ((2, 1, 0, 3, 4, 5), (2, 0, 1, 3, 4, 5))
    )
    groups, shared = _side_by_side(run, groups)
    rows = torch.cat([each.permute(forth) for each in shared], 1)  # [S, J, B, H, W, C] or [S, J, B, C, H, W]
    factors = run.factors([group.column for group in groups]).to(rows.dtype)
    factors = factors.unflatten(1, (count, -1)).permute(1, 2, 0)  # [S, K / S, J]
    product = torch.bmm(factors, rows.flatten(2))  # [S, K / S, B * H * W * C]
    terms = product.unflatten(2, rows.shape[2:]).permute(back)  # [B, S, K / S, C, H, W]
    if total is None:
        layout = torch.channels_last if source.channels_last else torch.contiguous_format
        return terms.flatten(1, 3).contiguous(memory_format=layout)
    return (total.unflatten(1, terms.shape[1:4]) + terms).flatten(1, 3)


def _side_by_side(run: Run, groups: Sequence[Group]) -> tuple[Sequence[Group], list[Tensor]]:
    """What J groups share, in one or more tensors of [B, J', S, C, H, W], and the groups in the order of their J."""
    count = run.source.count
    pools = [group for group in groups if group.pooled]
    moments = run.statistics.of_pools(pools) if len(pools) > 1 else None
    if moments is None:
        return groups, [_narrow(run, group).unflatten(1, (1, count, -1)) for group in groups]
    others = [group for group in groups if not group.pooled]
    pooled = normalise(torch.cat([run.source.pool(group.pool) for group in pools], 1), moments)
    shared = [_narrow(run, group).unflatten(1, (1, count, -1)) for group in others]
    return [*pools, *others], [pooled.unflatten(1, (len(pools), count, -1)), *shared]
