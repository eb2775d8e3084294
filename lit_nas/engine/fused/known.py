"""What is known of the modules of a cell, so that plans are made without walking through them again."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from torch import nn

from lit_nas.edges import Fusible
from lit_nas.engine.engine import MixedCell, edges_of
from lit_nas.internals import children_of, hooks_of, parameters_of
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

__all__ = ("MODE", "Candidate", "CellModules", "Facts")

KINDS = (AvgPool, DilatedConv, FactorizedReduce, MaxPool, ReLUConvBN, SeparableConv, nn.Identity)
"""Candidates that are computed together; others run as the modules they are."""
PARTS = frozenset((*KINDS, BatchNorm, DepthwiseStage, PointwiseConv, nn.Conv2d, Zero))
MODE = itemgetter("training", "track_running_stats", "momentum", "eps")
"""What decides how BatchNorm computes."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What plans read of a candidate, in one mode of its BatchNorms."""

    operation: nn.Module
    """The candidate."""
    together: bool
    """Whether it is computed together with others."""
    adds_nothing: bool
    """Whether it is no connection."""
    signature: Hashable
    """What operations that are computed together have in common."""
    norms: tuple[BatchNorm, ...]
    """Its BatchNorms, in order."""
    parameters: tuple[dict[str, Any], ...]
    """Those of its convolutions, in order."""


class Candidate:
    """One operation of one edge, and its facts by what may change of them.

    Args:
        operation: Its module.
    """

    def __init__(self, operation: nn.Module) -> None:
        modules = list(operation.modules())
        self.operation = operation
        self.norms = [module for module in modules if isinstance(module, BatchNorm)]
        self.attributes = [vars(norm) for norm in self.norms]
        self.hooks = [hooks for module in modules for hooks in hooks_of(module)]
        self.children = [children for module in modules if (children := children_of(module))]
        self.known = look(self.children)
        self._facts: dict[Hashable, Facts] = {}

    @property
    def holds(self) -> bool:
        """Whether no part of it was replaced."""
        return look(self.children) == self.known

    @property
    def facts(self) -> Facts:
        """What is known of it in its present mode."""
        hooked = any(self.hooks)
        key = (hooked, *map(type, self.norms), *map(MODE, self.attributes))
        if key not in self._facts:
            self._facts[key] = self._find(hooked)
        return self._facts[key]

    def _find(self, hooked: bool) -> Facts:
        operation, plain = self.operation, not hooked and _plain(self.operation)
        convolutions = [module for module in operation.modules() if isinstance(module, nn.Conv2d)]
        modes = [(*MODE(vars(norm)), norm.running_mean is None) for norm in self.norms]
        shapes = [(conv.weight.shape, conv.weight.dtype, conv.bias is None) for conv in convolutions]
        return Facts(
            operation,
            plain
            and type(operation) in KINDS
            and not _changes_channels(convolutions, self.norms)
            # stages with biases run as modules
            and (type(operation) is ReLUConvBN or all(conv.bias is None for conv in convolutions)),
            plain and type(operation) is Zero,
            (type(operation), getattr(operation, "kernel_size", None), tuple(modes), tuple(shapes)),
            tuple(self.norms),
            tuple(map(parameters_of, convolutions)),
        )


def _changes_channels(convolutions: list[nn.Conv2d], norms: list[BatchNorm]) -> bool:
    """Whether the output has another number of channels than the input, while those of a batch of edges have one."""
    return bool(convolutions) and convolutions[0].in_channels != norms[-1].num_features


class CellModules:
    """The edges of a cell, and their candidates as far as they were asked for.

    Args:
        cell: The cell.
    """

    def __init__(self, cell: MixedCell) -> None:
        self.names = cell.space.operations
        self.leaving = [
            [(edge, target) for edge, (start, target) in enumerate(cell.space.edges) if start == source]
            for source in range(cell.space.targets[-1])
        ]
        """For each state the edges that leave it, with the nodes that they lead to."""
        self.fusible: list[Fusible | None] = [edge.fusible for edge in edges_of(cell)]
        """For each edge how it may be computed; None lets it run as it is."""
        tables = [fusible.operations for fusible in self.fusible if fusible is not None]
        self.children = [children for module in (cell.edges, *cell.edges, *tables) if (children := children_of(module))]
        self.known = look(self.children)
        self._candidates: dict[tuple[int, int], Candidate] = {}

    @property
    def holds(self) -> bool:
        """Whether no edge or candidate was replaced."""
        return look(self.children) == self.known

    def fused(self, edge: int, columns: tuple[int, ...]) -> tuple[int, ...]:
        """Those of some operations of an edge that may be fused."""
        fusible = self.fusible[edge]
        if fusible is None:
            return ()
        return tuple(column for column in columns if self.names[column] in fusible.operations)

    def candidate(self, edge: int, column: int) -> Candidate:
        """What is known of an operation of an edge that may be fused."""
        found = self._candidates.get((edge, column))
        if found is None or not found.holds:
            fusible = self.fusible[edge]
            assert fusible is not None
            found = self._candidates[edge, column] = Candidate(fusible.operations[self.names[column]])
        return found


def look(children: Iterable[dict[str, Any]]) -> list[list[Any]]:
    """The modules in these tables now."""
    return [*map(list, map(dict.values, children))]


def _plain(module: nn.Module | None) -> bool:
    """Whether a module is what its class says: no replaced parts, no affine BatchNorm."""
    if (
        module is None
        or type(module) not in PARTS
        or (type(module) is BatchNorm and (module.affine or module.momentum is None))
    ):
        return False
    return all(map(_plain, children_of(module).values()))
