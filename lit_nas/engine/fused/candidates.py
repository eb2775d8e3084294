"""The candidates that leave a front, computed together: groups are run one after the other, and summed by edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from lit_nas.engine.fused.convolutions import convolution, dilated, factorized_reduce, separable
from lit_nas.engine.fused.plan import Alone, Bundle, Group
from lit_nas.engine.fused.run import Run, unchanged_buffers
from lit_nas.engine.fused.shared_results import mix, mix_slim, mixable, shared_result, slim_groups
from lit_nas.operations import AvgPool, DilatedConv, FactorizedReduce, MaxPool, ReLUConvBN, SeparableConv
from lit_nas.operations.depthwise import from_subgrids

__all__ = ("weighted_sums",)


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


def _totals(run: Run, bundle: Bundle) -> list[tuple[tuple[int, ...], Tensor]]:
    """Sums of the groups on the same edges: places of K edges, and [B, K * C, H', W']."""
    # dilated kernels may run on subgrids, whose sums are kept apart and put together once
    totals: dict[tuple[tuple[int, ...], bool], Tensor] = {}
    slim = slim_groups(run, bundle)
    mixed = [] if slim else mixable(run, bundle)
    for group in bundle.groups:
        if group not in mixed and group not in slim.get(group.members, ()):
            key = group.members, group.kind is DilatedConv and run.source.subgrids
            totals[key] = _RUN[group.kind](run, group, totals.get(key))
    if mixed:
        key = mixed[0].members, False
        totals[key] = mix(run, mixed, totals.get(key))
    for members, groups in slim.items():
        totals[members, False] = mix_slim(run, groups, totals.get((members, False)))
    return [
        (members, from_subgrids(total) if on_subgrids else total) for (members, on_subgrids), total in totals.items()
    ]


def _run_alone(run: Run, alone: Alone) -> Tensor:
    source, operation = run.source, alone.operation
    x = source.x if source.count == 1 else source.x.chunk(source.count, 1)[run.front.positions[alone.member]]
    with unchanged_buffers(operation, run.again):
        out = operation(x)
    return run.factor(alone.column, alone.member) * out


_RUN: Mapping[type[nn.Module], Callable[[Run, Group, Tensor | None], Tensor]] = {
    AvgPool: shared_result,
    DilatedConv: dilated,
    FactorizedReduce: factorized_reduce,
    MaxPool: shared_result,
    ReLUConvBN: convolution,
    SeparableConv: separable,
    nn.Identity: shared_result,
}
