"""How plans are made, and how long they are used.

Looking through the modules of a cell takes longer than launching their kernels. A plan is made once for each set of
active candidates and used as long as `Watch` sees that the modules are still the same. A search that samples paths asks
for a new plan at each step, which is made of what is known of each candidate and costs as little as looking it up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from lit_nas.architecture import Active
from lit_nas.engine.engine import MixedCell
from lit_nas.engine.fused.known import MODE, Candidate, CellModules, Facts, look
from lit_nas.engine.fused.plan import Alone, Bundle, Front, Group, Join, Own, Path, Plan, Wave
from lit_nas.operations import BatchNorm
from lit_nas.spaces import CellSpace

__all__ = ("find_plan",)

KEPT = 4
"""Plans kept for a cell: both levels of a search need one each, and a method that samples paths a new one each step."""
GROUPS_KEPT = 2048
"""Groups kept for a cell, each a few hundred bytes: where edges run one by one there are two for each candidate."""


@dataclass(eq=False)
class Watch:
    """The modules that plans were made of, and whether they are still what they were."""

    candidates: list[Candidate]
    """All active ones of edges that are fused."""
    plans: dict[Hashable, Plan] = field(default_factory=dict)
    """By the modes of their BatchNorms."""

    def __post_init__(self) -> None:
        self.children = [table for candidate in self.candidates for table in candidate.children]
        self.known = [modules for candidate in self.candidates for modules in candidate.known]
        plain = (candidate for candidate in self.candidates if not any(candidate.hooks))
        self.hooks: list[dict[int, Any]] = [hooks for candidate in plain for hooks in candidate.hooks]
        self.norms: list[BatchNorm] = [norm for candidate in self.candidates for norm in candidate.norms]
        self.attributes = [vars(norm) for norm in self.norms]

    @property
    def holds(self) -> bool:
        """Whether no module was replaced and no hook registered."""
        return not any(self.hooks) and look(self.children) == self.known


@dataclass(eq=False)
class _Cell:
    modules: CellModules
    watches: dict[Hashable, Watch] = field(default_factory=dict)
    groups: dict[Hashable, Group] = field(default_factory=dict)
    """Of former plans, with all that they know; the paths of two steps have many in common."""

    def group(self, *key: Any) -> Group:
        """The group with these fields."""
        if key not in self.groups:
            if len(self.groups) >= GROUPS_KEPT:
                self.groups.clear()
            self.groups[key] = Group(*key)
        return self.groups[key]


_CELLS: MutableMapping[Any, _Cell] = WeakKeyDictionary()


def find_plan(cell: MixedCell, active: Active, batched: tuple[bool, ...], joined: bool) -> Plan:
    """The plan of a cell, made anew where candidates, modules, hooks or modes of BatchNorm have changed.

    Args:
        cell: The cell.
        active: For each edge the columns of the operations that are executed.
        batched: For each state but the last node whether the edges that leave it run as one batch of kernels.
        joined: Whether few kernels count for more than small tensors: input states run as one batch, and one product
            mixes what the edges of a batch share.
    """
    known = _CELLS.get(cell)
    if known is None or not known.modules.holds:
        known = _CELLS[cell] = _Cell(CellModules(cell))
    modules, watches, key = known.modules, known.watches, (active, batched, joined)
    watch = watches.pop(key, None)
    if watch is None or not watch.holds:
        fused = ((edge, modules.fused(edge, row)) for edge, row in enumerate(active))
        watch = Watch([modules.candidate(edge, column) for edge, row in fused for column in row])
        while len(watches) >= KEPT:
            del watches[next(iter(watches))]
    watches[key] = watch  # the last one used is the last one dropped
    # with their classes, which `trainer.sync_batchnorm` changes in place
    modes = *map(type, watch.norms), *map(MODE, watch.attributes)
    if modes not in watch.plans:
        while len(watch.plans) >= KEPT:
            del watch.plans[next(iter(watch.plans))]
        watch.plans[modes] = Plan(tuple(_waves(cell, known, active, batched, joined)))
    return watch.plans[modes]


def _waves(cell: MixedCell, known: _Cell, active: Active, together: tuple[bool, ...], joined: bool) -> Iterator[Wave]:
    space, names = cell.space, cell.space.operations
    for sources in _complete(space, joined and all(together)):
        leaving = [
            (position, edge, target)
            for position, source in enumerate(sources)
            for edge, target in known.modules.leaving[source]
            if active[edge]
        ]
        kinds: dict[tuple[int | None, Join | None], list[int]] = {}
        own, paths = [], []
        for position, edge, target in leaving:
            fusible, fused = known.modules.fusible[edge], known.modules.fused(edge, active[edge])
            if len(fused) < len(active[edge]):
                columns = tuple((column, names[column]) for column in active[edge] if column not in fused)
                own.append(Own(edge, position, target, cell.edges[edge], columns))
            if fusible is None or not fused:
                continue
            kinds.setdefault((fusible.channels, fusible.join), []).append(edge)
            if fusible.path is not None:
                paths.append(Path(edge, position, target, fusible.path, fusible.join))
        if leaving:
            fronts = (
                _front(space, known, active, edges, together, joined, *kind) for kind, edges in kinds.items()
            )  # fmt: skip
            yield Wave(sources, tuple(fronts), tuple(own), tuple(paths))


def _complete(space: CellSpace, joined: bool) -> list[tuple[int, ...]]:
    """States that are complete at the same time: the inputs of a cell, and then one node after the other."""
    inputs = tuple(range(space.num_inputs))
    first = [inputs] if joined else [(source,) for source in inputs]
    return [*first, *((source,) for source in range(space.num_inputs, space.targets[-1]))]


def _front(
    space: CellSpace,
    known: _Cell,
    active: Active,
    edges: list[int],
    together: tuple[bool, ...],
    joined: bool,
    channels: int | None,
    join: Join | None,
) -> Front:
    """The edges, sorted by the states that they leave, as one front."""
    starts, targets = zip(*(space.edges[edge] for edge in edges), strict=True)
    sources = tuple(dict.fromkeys(starts))
    positions = tuple(map(sources.index, starts))
    batched, places = together[sources[0]], range(len(edges))
    modules = known.modules
    facts = [
        {column: modules.candidate(edge, column).facts for column in modules.fused(edge, active[edge])}
        for edge in edges
    ]
    parts = [places] if batched else [(place,) for place in places]
    single = {place for place, edge in enumerate(edges) if len(active[edge]) == 1}
    bundles = tuple(_bundle(known, members, positions, facts, single) for members in parts)
    return Front(
        sources, tuple(edges), targets, positions, space.stride(edges[0]), batched, batched and joined, bundles,
        channels, join,
    )  # fmt: skip


def _bundle(
    known: _Cell,
    members: Sequence[int],
    positions: tuple[int, ...],
    facts: list[dict[int, Facts]],
    single: set[int],
) -> Bundle:
    groups: list[Group] = []
    alone: list[Alone] = []
    for column in sorted(set(chain.from_iterable(facts[member] for member in members))):
        kinds: dict[Hashable, list[int]] = {}
        for member in (member for member in members if column in facts[member]):
            each = facts[member][column]
            if each.together:
                kinds.setdefault(each.signature, []).append(member)
            # no connection adds nothing, but alone on an edge it keeps the graph connected
            elif not each.adds_nothing or member in single:
                alone.append(Alone(column, member, each.operation))
        for alike in kinds.values():
            places, own = tuple(positions[member] for member in alike), tuple(facts[m][column] for m in alike)
            groups.append(known.group(column, tuple(alike), places, own))
    return Bundle(tuple(groups), tuple(alone))
