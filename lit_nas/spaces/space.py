"""What a search space is: data. Networks are built from it, nothing is ever built into it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lit_nas.operations import OperationStyle, check_operations

__all__ = ("MOST_CELLS", "CellSpace", "Position", "SearchSpace")

MOST_CELLS = 1000
"""Depth beyond which a number of cells is taken for a slip: building the network alone would take minutes."""


@dataclass(frozen=True)
class CellSpace:
    """DAG of one cell type and the candidates on its edges.

    States 0 .. inputs - 1 are the inputs of a cell, the following ones its nodes. Edge e of E leads from state
    `edges[e][0]` to state `edges[e][1]`; rows of architecture parameters follow this order.

    Raises:
        ValueError: if an operation is unknown or named twice, or an edge does not point forward.
    """

    name: str
    """Cell type: `normal` or `reduce`."""
    operations: tuple[str, ...]
    """O candidate names on every edge."""
    edges: tuple[tuple[int, int], ...]
    """E pairs (source, target), sorted by target and then by source."""
    inputs: int = 2
    """Number of input states."""
    reduction: bool = False
    """Whether edges that leave an input have stride 2."""
    outputs: tuple[int, ...] = ()
    """Nodes that make the output; none given means all."""
    keeps_none: bool = False
    """Whether a genotype holds all edges, those without a connection as `none`."""

    def __post_init__(self) -> None:
        if not self.operations:
            raise ValueError(f"Cell '{self.name}' needs at least one operation.")
        check_operations(self.operations, f"cell '{self.name}' (space.operations)")
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"Cell '{self.name}' names an operation twice in space.operations: {self.operations}.")
        if any(source >= target for source, target in self.edges):
            raise ValueError(f"Cell '{self.name}' has an edge that does not point forward: {self.edges}.")
        if list(self.edges) != sorted(self.edges, key=lambda edge: (edge[1], edge[0])):
            raise ValueError(f"Cell '{self.name}' needs its edges sorted by target, then source: {self.edges}.")

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """The states that are nodes, in order."""
        return tuple(sorted({target for _, target in self.edges}))

    @cached_property
    def concat(self) -> tuple[int, ...]:
        """The nodes whose channels are concatenated to the output."""
        return self.outputs or self.targets

    def stride(self, edge: int) -> int:
        """Stride of edge number `edge`: 2 where a reduction cell reads one of its inputs."""
        return 2 if self.reduction and self.edges[edge][0] < self.inputs else 1


class Position(NamedTuple):
    """One cell of a network."""

    cell: str
    """Cell type."""
    channels: int
    """C of each node."""


class SearchSpace(ABC):
    """A family of networks to search in; final subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def cells(self) -> dict[str, CellSpace]:
        """Cell type -> its DAG."""

    @property
    @abstractmethod
    def layout(self) -> tuple[Position, ...]:
        """The cells of the search network from input to output."""

    @property
    @abstractmethod
    def style(self) -> OperationStyle:
        """How the candidates of the search network are normalised."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name, recorded in genotypes."""
