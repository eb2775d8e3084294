"""What a search space is: data. Networks are built from it, nothing is ever built into it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lit_nas.operations import OperationStyle, check_operations

__all__ = ("MOST_CELLS", "CellSpace", "Position", "SearchSpace", "candidates_by_cell")

MOST_CELLS = 1000
"""Depth beyond which a number of cells is taken for a slip: building the network alone would take minutes."""


@dataclass(frozen=True)
class CellSpace:
    """DAG of one cell type and the candidates on its edges.

    States 0 .. num_inputs - 1 are the inputs of a cell, the following ones its nodes. Edge e of E leads from state
    `edges[e][0]` to state `edges[e][1]`; rows of architecture parameters follow this order.

    Raises:
        ValueError: if an operation is unknown or named twice, an edge does not point forward, or the candidates of the
            edges do not fit edges or operations.
    """

    name: str
    """Cell type: `normal` or `reduce`."""
    operations: tuple[str, ...]
    """O candidate names; columns of architecture parameters follow this order on all edges."""
    edges: tuple[tuple[int, int], ...]
    """E pairs (source, target), sorted by target and then by source."""
    num_inputs: int = 2
    """Number of input states."""
    reduction: bool = False
    """Whether edges that leave an input have stride 2."""
    outputs: tuple[int, ...] = ()
    """Nodes that make the output; none given means all."""
    keeps_none: bool = False
    """Whether a genotype holds all edges, those without a connection as `none`."""
    candidates: tuple[tuple[str, ...], ...] = ()
    """For each edge the names that it has; none given means that every edge has all operations."""

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
        if self.candidates:
            self._check_candidates()

    def _check_candidates(self) -> None:
        where = f"space.candidates.{self.name}"
        if len(self.candidates) != len(self.edges):
            raise ValueError(
                f"{where} names candidates for {len(self.candidates)} edges, but the cell has {len(self.edges)}. Give "
                f"one list of operations for each of its edges (source, target), in this order: {list(self.edges)}."
            )
        for edge, names in zip(self.edges, self.candidates, strict=True):
            if unknown := sorted(set(names) - set(self.operations)):
                raise ValueError(
                    f"{where} gives edge {edge} the operations {unknown}, which space.operations does not have: "
                    f"{', '.join(self.operations)}."
                )
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"{where} must give edge {edge} each operation once and at least one, not {list(names)}."
                )

    @cached_property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """For each edge the columns of its candidates, ascending."""
        rows = self.candidates or (self.operations,) * len(self.edges)
        return tuple(tuple(sorted(map(self.operations.index, names))) for names in rows)

    def names(self, edge: int) -> tuple[str, ...]:
        """The candidates of edge number `edge`, in the order of the columns."""
        return tuple(self.operations[column] for column in self.allowed[edge])

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
        return 2 if self.reduction and self.edges[edge][0] < self.num_inputs else 1


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


def candidates_by_cell(
    candidates: Mapping[str, Sequence[Sequence[str]]] | None, cells: Sequence[str]
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """The candidates of each edge as a space keeps them; `CellSpace` checks the rows.

    Args:
        candidates: Cell type -> for each edge its names, lists as they come from YAML; a type that is left out has all
            operations on all edges.
        cells: The cell types of the space.

    Raises:
        ValueError: if a cell type is unknown or has no rows.
    """
    given = {} if candidates is None else candidates
    if unknown := sorted(set(given) - set(cells)):
        raise ValueError(f"space.candidates names the cells {unknown}; the space has {', '.join(cells)}.")
    if empty := sorted(name for name, rows in given.items() if not rows):
        raise ValueError(f"space.candidates gives {empty} no edges. Leave the cell out, and it has all operations.")
    return {name: tuple(map(tuple, rows)) for name, rows in given.items()}
