"""The fast engine: what the candidates that leave a state have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lit_nas.architecture import CellMixture
from lit_nas.engine.engine import Engine, MixedCell, edges_of, empty_node
from lit_nas.engine.fused.candidates import weighted_sums
from lit_nas.engine.fused.nodes import Asides, Nodes
from lit_nas.engine.fused.plan import Front, Group, Plan
from lit_nas.engine.fused.planning import find_plan
from lit_nas.engine.fused.run import Run, Weights
from lit_nas.engine.fused.source import Source
from lit_nas.engine.fused.statistics import BatchStatistics, make_room, update_running
from lit_nas.engine.probe import probe

__all__ = ("Fused",)

BATCHED_BELOW = 2**19
"""On a CPU the edges of a state of fewer elements run as one batch of kernels."""


@dataclass(frozen=True)
class Fused(Engine):
    """Shares work between the edges that leave a state and folds the mixing weights into BatchNorm.

    Edges say what of them can be computed in this way (`lit_nas.edges.Fusible`): all candidates of plain edges, those
    of partial channels on a slice of the state, and those beside an auxiliary path. Other edges run as they are, in the
    same cell if need be.

    Raises:
        ValueError: if the layout is unknown.
    """

    checkpoint: bool = False
    """Whether to keep only the states of a cell for the backward pass and compute the rest a second time."""
    compile: bool = False
    """Whether the convolutional candidates run as compiled code; the first steps then take minutes."""
    batch_edges: bool | None = None
    """Whether the edges that leave a state run as one batch of kernels; None decides by device and size."""
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Layout of the states in memory; `auto` is channels_last, on a CPU by far the faster one."""

    def __post_init__(self) -> None:
        if self.layout not in ("auto", "channels_last", "contiguous"):
            raise ValueError(f"engine.layout must be auto, channels_last or contiguous, not {self.layout!r}.")

    @property
    def recomputes(self) -> bool:
        """See `Engine`."""
        return self.checkpoint

    def __call__(self, cell: MixedCell, states: list[Tensor], mixture: CellMixture) -> list[Tensor]:
        """See `Engine`."""
        plan = find_plan(cell, mixture.active, *self._batched(cell, states[0]))
        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        states = [state.contiguous(memory_format=layout) for state in states]
        nodes, statistics = Nodes(lambda target, node: probe(cell, mixture, target, node, states)), []
        shared = _Shared(plan, _weights(plan), self._channels_last, self.compile)
        inputs = iter(self._inputs(plan, mixture.weights, states[0]))
        for wave in plan.waves:
            while len(states) <= wave.sources[-1]:
                node = nodes.value(len(states))
                node = empty_node(cell, states) if node is None else node
                states.append(node.contiguous(memory_format=layout))  # a node with one term is a part of a wide map
            for front in wave.fronts:
                room, factors, scales = next(inputs)
                leaves = _Leaves(front, shared, room)
                for targets, term in self._run(leaves, factors, scales, *(states[source] for source in front.sources)):
                    parts = [term] if len(targets) == 1 else term.split(term.shape[1] // len(targets), 1)
                    for target, part in zip(targets, parts, strict=True):
                        nodes.add_mixed(target, part, front.join)
                statistics.append(leaves.runs[0])
            if wave.asides:
                values = self._run(Asides(wave), mixture.weights, mixture.beside, *(states[s] for s in wave.sources))
                for aside, value in zip(wave.asides, values, strict=True):
                    nodes.add_aside(aside, value)
        update_running(statistics)
        values = [nodes.value(target) for target in cell.space.targets]
        return [empty_node(cell, states) if value is None else value for value in values]

    def _run(self, function: Callable[..., list[Any]], *inputs: Any) -> list[Any]:
        """The function's value; where asked for, its inputs alone are kept for the backward pass."""
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    def _inputs(self, plan: Plan, weights: Tensor, state: Tensor) -> Iterator[tuple[Tensor | None, Any, Any]]:
        """What each front gets: room for statistics, and mixing weights in two forms."""
        rooms = [None] * len(plan.fronts) if self.compile else make_room(plan.fronts, state)
        return zip(rooms, *_scales(plan, weights, state.shape[1]), strict=True)

    @property
    def _channels_last(self) -> bool:
        return self.layout != "contiguous"

    def _batched(self, cell: MixedCell, state: Tensor) -> tuple[tuple[bool, ...], bool]:
        """For each state whether the edges that leave it run as one batch, and whether batches are joined further.

        Joining saves launches, which a CPU has for nothing, and needs larger tensors, which its caches do not hold.
        The size is that of what candidates see.
        """
        inputs, states = cell.space.num_inputs, range(cell.space.targets[-1])
        if self.batch_edges is not None or state.device.type != "cpu":
            together = self.batch_edges is not False
            return tuple(together for _ in states), together
        fusible = edges_of(cell)[0].fusible
        seen = None if fusible is None else fusible.channels
        whole = state.numel() if seen is None else state.numel() // state.shape[1] * seen
        size = whole // (4 if cell.space.reduction else 1)
        return tuple((whole if source < inputs else size) < BATCHED_BELOW for source in states), False


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all fronts of a cell share."""

    plan: Plan
    weights: Weights
    channels_last: bool
    compiled: bool


class _Leaves:
    """Computes what leaves a front; `checkpoint` calls it a second time, which must not update statistics again.

    Args:
        front: What is computed.
        shared: With all fronts of the cell.
        room: For statistics of the first run.
    """

    def __init__(self, front: Front, shared: _Shared, room: Tensor | None) -> None:
        self.front, self.shared, self.room = front, shared, room
        self.runs: list[BatchStatistics] = []
        """Moments of the batch, of each run; all are the same."""

    def __call__(
        self, factors: Tensor, scales: tuple[Tensor, ...], *states: Tensor
    ) -> list[tuple[tuple[int, ...], Tensor]]:
        front, shared, again = self.front, self.shared, bool(self.runs)
        seen = [self._seen(state) for state in states]
        source = Source(seen, front.stride, shared.channels_last, shared.compiled)
        room = torch.zeros_like(self.room) if again and self.room is not None else self.room
        statistics = BatchStatistics(front, source.channels, room, source.x)
        by_column = dict(enumerate(scales, shared.plan.scaled.start))
        plain = shared.plan.plain.start, factors
        self.runs.append(statistics)
        return weighted_sums(Run(front, source, plain, by_column, shared.weights, statistics, again))

    def _seen(self, state: Tensor) -> Tensor:
        """The channels that candidates see, in the layout of the state."""
        if self.front.channels is None:
            return state
        layout = torch.channels_last if self.shared.channels_last else torch.contiguous_format
        return state[:, : self.front.channels].contiguous(memory_format=layout)


Scales = tuple[Tensor, ...]


def _scales(plan: Plan, weights: Tensor, channels: int) -> tuple[tuple[Tensor, ...], list[Scales]]:
    """For each front the mixing weights of `plan.plain`, [O', K], and those of `plan.scaled`, O' times [K, C]."""
    if not plan.fronts:
        return (), []
    rows, sizes = weights.unbind(), [len(front.edges) for front in plan.fronts]
    stacked = torch.stack([rows[edge] for edge in plan.edges], 1)
    wide = {
        seen: _wide_scales(stacked[plan.scaled], seen or channels, sizes) for seen in {f.channels for f in plan.fronts}
    }
    return stacked[plan.plain].split(sizes, 1), [wide[front.channels][i] for i, front in enumerate(plan.fronts)]


def _wide_scales(weights: Tensor, channels: int, sizes: list[int]) -> list[Scales]:
    """Each mixing weight repeated for all channels: [O', E] -> for each front of K edges O' times [K, C]."""
    scaled = weights.unsqueeze(2).expand(-1, -1, channels).flatten(0, 1)  # copied: kernels ignore strides
    pieces = scaled.contiguous().split(sizes * len(weights))
    return [pieces[place :: len(sizes)] for place in range(len(sizes))]


def _weights(plan: Plan) -> dict[Group, list[Tensor]]:
    """The kernels of each group, those of its edges side by side: one copy for all groups of a cell."""
    found: dict[Group, list[Tensor]] = {
        group: [parameters[0]["weight"] for parameters in group.weights]
        for front in plan.fronts
        for bundle in front.bundles
        for group in bundle.groups
    }
    for shared in plan.shared:
        lists = [[parameters["weight"] for parameters in group.weights[index]] for group, index in shared]
        sizes = [sum(weight.shape[0] for weight in each) for each in lists]
        parts = torch.cat([weight for each in lists for weight in each]).split(sizes)
        for (group, index), part in zip(shared, parts, strict=True):
            found[group][index] = part
    return found
