"""What an engine knows of a cell before it sees data: which states, edges and candidates run together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from lit_nas.engine.fused.known import Facts
from lit_nas.operations import AvgPool, BatchNorm, MaxPool

__all__ = ("Alone", "Bundle", "Front", "Group", "Own", "Path", "Plan", "Wave")

Join = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Group:
    """Candidates of one kind on edges of a front, computed by one batch of kernels."""

    column: int
    """Of the operation."""
    members: tuple[int, ...]
    """Places of its K edges within the front."""
    positions: tuple[int, ...]
    """For each edge the place of its state within the front."""
    facts: tuple[Facts, ...]
    """Of their modules, all built alike."""

    @cached_property
    def operations(self) -> tuple[nn.Module, ...]:
        """Their modules."""
        return tuple(facts.operation for facts in self.facts)

    @cached_property
    def kind(self) -> type[nn.Module]:
        """Class of the modules."""
        return type(self.operations[0])

    @cached_property
    def weights(self) -> tuple[tuple[dict[str, Any], ...], ...]:
        """For each convolution the parameters of its K modules."""
        return tuple(zip(*(facts.parameters for facts in self.facts), strict=True))

    @property
    def biases(self) -> list[Tensor] | None:
        """Of the only convolution, if it has some."""
        if len(self.weights) != 1 or self.weights[0][0]["bias"] is None:
            return None
        return [parameters["bias"] for parameters in self.weights[0]]

    @cached_property
    def pooled(self) -> bool:
        """Whether the edges that leave a state pool it alike."""
        return self.kind in (AvgPool, MaxPool)

    @cached_property
    def pool(self) -> MaxPool | AvgPool:
        """The first of its pools, whose window all of them have."""
        operation = self.operations[0]
        assert isinstance(operation, (MaxPool, AvgPool))
        return operation

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
        return tuple(zip(*(facts.norms for facts in self.facts), strict=True))


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
    """States that are complete at the same time, with edges that leave them and are computed in the same way."""

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
    channels: int | None
    """How many of the first channels of the states the candidates see; None is all."""
    join: Join | None
    """See `Fusible`."""

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
class Own:
    """An edge that runs as it is, or what of it is not fused."""

    index: int
    """Row of the edge."""
    source: int
    """Place of its state within the wave."""
    target: int
    """The node that it leads to."""
    edge: nn.Module
    """Its module."""
    columns: tuple[tuple[int, str], ...]
    """Its active operations that are not fused, with their names."""


@dataclass(frozen=True, eq=False)
class Path:
    """What is computed beside the candidates of an edge."""

    index: int
    """Row of the edge."""
    source: int
    """Place of its state within the wave."""
    target: int
    """The node that it leads to."""
    run: Callable[[Tensor], Tensor]
    """What is computed."""
    join: Join | None
    """See `Fusible`."""


@dataclass(frozen=True, eq=False)
class Wave:
    """States that are complete at the same time, with all edges that leave them."""

    sources: tuple[int, ...]
    """The states."""
    fronts: tuple[Front, ...]
    """Candidates that are computed together."""
    own: tuple[Own, ...]
    """Edges that are not fused."""
    paths: tuple[Path, ...]
    """What is computed beside the candidates of those that are."""

    @cached_property
    def asides(self) -> tuple[Own | Path, ...]:
        """Edges that are not fused, and then what is computed beside those that are."""
        return (*self.own, *self.paths)


@dataclass(frozen=True, eq=False)
class Plan:
    """The waves of a cell in the order of its states."""

    waves: tuple[Wave, ...]

    @cached_property
    def fronts(self) -> tuple[Front, ...]:
        """Of all waves."""
        return tuple(front for wave in self.waves for front in wave.fronts)

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
