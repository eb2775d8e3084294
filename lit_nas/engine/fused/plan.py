"""What an engine knows of a cell before it sees data: which states, edges and candidates run together.

Looking through the modules of a cell takes longer than launching their kernels. A plan is made once for each set of
active candidates and used as long as `Watch` sees that the modules are still the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from lit_nas.architecture import Active
from lit_nas.engine.edges import MixedEdge
from lit_nas.engine.engine import MixedCell
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
)
from lit_nas.operations.convolution import DepthwiseStage
from lit_nas.spaces import CellSpace

__all__ = ("Alone", "Bundle", "Front", "Group", "Plan", "find_plan")

KEPT = 4
"""Plans kept for a cell: both levels of a search need one each, and a method that samples paths a new one each step."""
KINDS = (AvgPool, DilatedConv, FactorizedReduce, MaxPool, ReLUConvBN, SeparableConv, nn.Identity)
"""Candidates that are computed together; others run as the modules they are."""
PARTS = frozenset((*KINDS, BatchNorm, DepthwiseStage, PointwiseConv, nn.Conv2d, Zero))
MODE = itemgetter("training", "track_running_stats", "momentum", "eps")
"""What decides how BatchNorm computes."""


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one kind on edges of a front, computed by one batch of kernels."""

    column: int
    """Of the operation."""
    members: tuple[int, ...]
    """Places of its K edges within the front."""
    positions: tuple[int, ...]
    """For each edge the place of its state within the front."""
    operations: tuple[nn.Module, ...]
    """Their modules, all built alike."""

    @cached_property
    def kind(self) -> type[nn.Module]:
        """Class of the modules."""
        return type(self.operations[0])

    @cached_property
    def weights(self) -> tuple[list[dict[str, Any]], ...]:
        """For each convolution the parameters of its K modules."""
        return tuple(
            [conv._parameters for conv in each] for each in zip(*map(_convolutions, self.operations), strict=True)
        )

    @property
    def biases(self) -> list[Tensor] | None:
        """Of the only convolution, if it has some."""
        conv = getattr(self.operations[0], "conv", None)
        return None if conv is None or conv.bias is None else [operation.conv.bias for operation in self.operations]

    @cached_property
    def pooled(self) -> bool:
        """Whether the edges that leave a state pool it alike."""
        return self.kind in (AvgPool, MaxPool)

    @cached_property
    def narrow(self) -> bool:
        """Whether the edges share the result up to their weights.

        They do not where running statistics normalise, which each edge has of its own.
        """
        by_batch = all(norm.training or norm.running_mean is None for norms in self.norms for norm in norms)
        return self.kind is nn.Identity or (self.pooled and by_batch)

    @cached_property
    def norms(self) -> tuple[tuple[BatchNorm, ...], ...]:
        """For each BatchNorm its K modules."""
        return tuple(zip(*map(_norms, self.operations), strict=True))


@dataclass(frozen=True, eq=False)
class Alone:
    """A candidate that runs as the module it is."""

    column: int
    """Of the operation."""
    member: int
    """Place of its edge within the front."""
    operation: nn.Module
    """Its module."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """What leaves a front together: all edges, or a single one."""

    groups: tuple[Group, ...]
    """Candidates that are computed together."""
    alone: tuple[Alone, ...]
    """All others."""


@dataclass(frozen=True, eq=False)
class Front:
    """States that are complete at the same time, with the edges that leave them."""

    sources: tuple[int, ...]
    """The states."""
    edges: tuple[int, ...]
    """Rows of their active edges, by state."""
    targets: tuple[int, ...]
    """For each edge the node that it leads to."""
    positions: tuple[int, ...]
    """For each edge the place of its state in `sources`."""
    stride: int
    """Of all edges."""
    batched: bool
    """Whether the edges run as one batch of kernels."""
    joined: bool
    """Whether one product mixes what they share."""
    bundles: tuple[Bundle, ...]
    """What is computed."""

    @cached_property
    def tracked(self) -> dict[tuple[Group, int], int]:
        """BatchNorms whose running statistics see the batch, as group and number, and how many times C they have."""
        return {
            (group, index): len(self.sources) if group.pooled else len(group.members)
            for bundle in self.bundles
            for group in bundle.groups
            for index, norms in enumerate(group.norms)
            if norms[0].training and norms[0].track_running_stats and norms[0].running_mean is not None
        }

    @cached_property
    def parallel(self) -> bool:
        """Whether there are several states, whose edges lead to the same nodes and run as one batch."""
        count = len(self.sources)
        return count > 1 and self.batched and self.targets == self.targets[: len(self.targets) // count] * count


@dataclass(frozen=True, eq=False)
class Plan:
    """The fronts of a cell in the order in which they are complete."""

    fronts: tuple[Front, ...]

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """Rows of all active edges, front by front."""
        return tuple(edge for front in self.fronts for edge in front.edges)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Of all fronts."""
        return tuple(group for front in self.fronts for bundle in front.bundles for group in bundle.groups)

    @cached_property
    def scaled(self) -> slice:
        """The columns whose weights are the scales of BatchNorms."""
        columns = [group.column for group in self.groups if not group.narrow] or [0]
        return slice(min(columns), max(columns) + 1)

    @cached_property
    def plain(self) -> slice:
        """The columns whose weights are used otherwise."""
        alone = [each.column for front in self.fronts for bundle in front.bundles for each in bundle.alone]
        columns = [*alone, *(group.column for group in self.groups if group.narrow)] or [0]
        return slice(min(columns), max(columns) + 1)

    @cached_property
    def shared(self) -> tuple[tuple[tuple[Group, int], ...], ...]:
        """Convolutions of more than one module, as group and number, by kernels that can be joined in one tensor."""
        kinds: dict[Hashable, list[tuple[Group, int]]] = {}
        for group in self.groups:
            for index, parameters in enumerate(group.weights if len(group.members) > 1 else ()):
                weight: Tensor = parameters[0]["weight"]
                kinds.setdefault((weight.shape[1:], weight.dtype), []).append((group, index))
        return tuple(map(tuple, kinds.values()))


@dataclass(eq=False)
class Watch:
    """The modules that plans were made of, and whether they are still what they were."""

    children: list[dict[str, Any]]
    """Of all modules that have some."""
    hooks: list[dict[int, Any]]
    """Of all modules that are computed together with others."""
    norms: list[BatchNorm]
    """Their BatchNorms."""
    plans: dict[Hashable, Plan] = field(default_factory=dict)
    """By the modes of these."""

    def __post_init__(self) -> None:
        self.known = self._look()
        self.attributes = [vars(norm) for norm in self.norms]

    def _look(self) -> list[list[Any]]:
        return [*map(list, map(dict.values, self.children))]

    @property
    def holds(self) -> bool:
        """Whether no module was replaced and no hook registered."""
        return not any(self.hooks) and self._look() == self.known


_WATCHES: MutableMapping[Any, dict[Hashable, Watch]] = WeakKeyDictionary()


def find_plan(cell: MixedCell, active: Active, batched: tuple[bool, ...], joined: bool) -> Plan:
    """The plan of a cell, made anew where candidates, modules, hooks or modes of BatchNorm have changed.

    Args:
        cell: The cell.
        active: For each edge the columns of the operations that are executed.
        batched: For each state but the last node whether the edges that leave it run as one batch of kernels.
        joined: Whether few kernels count for more than small tensors: input states run as one batch, and one product
            mixes what the edges of a batch share.

    Raises:
        TypeError: if an edge is not a `MixedEdge`.
    """
    key, watches = (active, batched, joined), _WATCHES.setdefault(cell, {})
    watch = watches.pop(key, None)
    if watch is None or not watch.holds:
        watch = _watch(cell, active)
        while len(watches) >= KEPT:
            del watches[next(iter(watches))]
    watches[key] = watch  # the last one used is the last one dropped
    # with their classes, which `trainer.sync_batchnorm` changes in place
    modes = *map(type, watch.norms), *map(MODE, watch.attributes)
    if modes not in watch.plans:
        while len(watch.plans) >= KEPT:
            del watch.plans[next(iter(watch.plans))]
        watch.plans[modes] = Plan(tuple(_fronts(cell, active, batched, joined)))
    return watch.plans[modes]


def _watch(cell: MixedCell, active: Active) -> Watch:
    for edge in cell.edges:
        if type(edge) is not MixedEdge:
            raise TypeError(f"Fused cannot run edges of type {type(edge).__name__}; choose the engine Reference.")
    names = cell.space.operations
    operations = [edge.operations[names[o]] for edge, row in zip(cell.edges, active, strict=True) for o in row]
    above = [cell.edges, *cell.edges, *(edge.operations for edge in cell.edges)]
    modules = [module for operation in operations for module in operation.modules()]
    plain = [module for operation in operations if _plain(operation) for module in operation.modules()]
    return Watch(
        [module._modules for module in (*above, *modules) if module._modules],
        [hooks for module in plain for hooks in _hooks(module)],
        [module for module in plain if type(module) is BatchNorm],
    )


def _fronts(cell: MixedCell, active: Active, together: tuple[bool, ...], joined: bool) -> Iterator[Front]:
    space = cell.space
    for sources in _moments(space, joined and all(together)):
        sources = tuple(
            source
            for source in sources
            if any(start == source and columns for (start, _), columns in zip(space.edges, active, strict=True))
        )
        rows = [
            (position, edge, space.edges[edge][1])
            for position, source in enumerate(sources)
            for edge, (start, _) in enumerate(space.edges)
            if start == source and active[edge]
        ]
        if rows:
            positions, edges, targets = zip(*rows, strict=True)
            batched = together[sources[0]]
            places = range(len(edges))
            bundles = [places] if batched else [[place] for place in places]
            columns = [active[edge] for edge in edges]
            modules = [cell.edges[edge].operations for edge in edges]
            yield Front(
                sources, edges, targets, positions, space.stride(edges[0]), batched,
                batched and joined,
                tuple(_bundle(members, positions, columns, modules, space.operations) for members in bundles),
            )  # fmt: skip


def _moments(space: CellSpace, joined: bool) -> list[tuple[int, ...]]:
    """States that are complete at the same time: the inputs of a cell, and then one node after the other."""
    inputs = tuple(range(space.inputs))
    first = [inputs] if joined else [(source,) for source in inputs]
    return [*first, *((source,) for source in range(space.inputs, space.targets[-1]))]


def _bundle(
    members: Iterable[int],
    positions: tuple[int, ...],
    columns: list[tuple[int, ...]],
    modules: list[nn.ModuleDict],
    names: tuple[str, ...],
) -> Bundle:
    members = list(members)
    groups: list[Group] = []
    alone: list[Alone] = []
    for column in sorted(set(chain.from_iterable(columns[member] for member in members))):
        kinds: dict[Hashable, list[int]] = {}
        for member in (member for member in members if column in columns[member]):
            operation = modules[member][names[column]]
            if type(operation) in KINDS and _plain(operation) and not _changes_channels(operation):
                kinds.setdefault(_signature(operation), []).append(member)
            # no connection adds nothing, but alone on an edge it keeps the graph connected
            elif type(operation) is not Zero or not _plain(operation) or len(columns[member]) == 1:
                alone.append(Alone(column, member, operation))
        for alike in kinds.values():
            groups.append(
                Group(
                    column, tuple(alike), tuple(positions[member] for member in alike),
                    tuple(modules[member][names[column]] for member in alike),
                )
            )  # fmt: skip
    return Bundle(tuple(groups), tuple(alone))


def _plain(module: nn.Module) -> bool:
    """Whether a module is what its class says: no hooks, no replaced parts, no affine BatchNorm."""
    if type(module) not in PARTS or (type(module) is BatchNorm and (module.affine or module.momentum is None)):
        return False
    return not any(_hooks(module)) and all(map(_plain, module._modules.values()))


def _changes_channels(operation: nn.Module) -> bool:
    """Whether the output has another number of channels than the input, while those of a batch of edges have one."""
    convolutions, norms = _convolutions(operation), _norms(operation)
    return bool(convolutions) and convolutions[0].in_channels != norms[-1].num_features


def _hooks(module: nn.Module) -> tuple[dict[int, Any], ...]:
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def _signature(operation: nn.Module) -> Hashable:
    """What operations that are computed together have in common."""
    modes = [(*MODE(vars(norm)), norm.running_mean is None) for norm in _norms(operation)]
    shapes = [(conv.weight.shape, conv.weight.dtype, conv.bias is None) for conv in _convolutions(operation)]
    return type(operation), getattr(operation, "kernel_size", None), tuple(modes), tuple(shapes)


def _norms(operation: nn.Module) -> list[BatchNorm]:
    return [module for module in operation.modules() if isinstance(module, BatchNorm)]


def _convolutions(operation: nn.Module) -> list[nn.Conv2d]:
    return [module for module in operation.modules() if isinstance(module, nn.Conv2d)]
