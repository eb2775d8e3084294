"""What a search space is: data. Networks are built from it, nothing is ever built into it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lit_nas.operations import SEARCH, OperationStyle, check_operations
from lit_nas.specs import ImageSpec, Spec

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("MOST_CELLS", "CellSpace", "Position", "SearchSpace", "known_spaces")

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
    """Cell type, `normal` or `reduce` for example."""
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
    """For each edge the names that it has, which may be none; no rows mean that every edge has all operations."""

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
            if len(set(names)) < len(names):
                raise ValueError(f"{where} must give edge {edge} each operation once, not {list(names)}.")
        if not any(self.candidates):
            raise ValueError(f"{where} gives no edge an operation. At least one edge of each cell needs one.")

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
    """One place in a network, with the cell that stands there."""

    cell: str
    """Cell type. Positions of one type share their architecture parameters; a type for each has its own."""
    channels: int
    """C of each node."""
    channels_in: int | None = None
    """C of what edges that leave an input read; None means `channels`, to which the cell then brings its inputs."""
    stride: int | None = None
    """Stride of edges that leave an input; None means that of the cell type, 2 in a reduction cell."""
    style: OperationStyle | None = None
    """How the candidates are normalised here; None means as everywhere in the space."""


_KNOWN: dict[str, "type[SearchSpace]"] = {}


class SearchSpace(ABC):
    """A family of networks to search in; final subclasses are frozen dataclasses.

    The class describes what is true of all its networks and of its genotypes, its fields one network. Which modules
    of torch it is built of stands in `lit_nas.networks.registry`; spaces of your own are added there by
    `register_space`.

    A final class has a `name` of its own, by which genotypes name it; they are checked by it from then on.
    """

    name: ClassVar[str]
    """Short name, recorded in genotypes."""
    spec_class: ClassVar[type[Spec]] = ImageSpec
    """What data and networks of this space agree on."""
    genotype_cells: ClassVar[tuple[str, ...]] = ()
    """Cell types that each genotype has; none given means that a genotype has one at least."""
    edges_per_node: ClassVar[int | None] = None
    """How many edges a node keeps when the architecture is made discrete; None keeps the best operation of each."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if (name := vars(cls).get("name")) is None:
            return
        if not isinstance(name, str):
            raise TypeError(f"{cls.__qualname__}.name must be a text (`name = 'mine'` in the class), not {name!r}.")
        known = _KNOWN.get(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"The search space '{name}' is that of {known.__module__}.{known.__qualname__}; "
                f"{cls.__module__}.{cls.__qualname__} needs another name."
            )
        _KNOWN[name] = cls

    @property
    @abstractmethod
    def cells(self) -> dict[str, CellSpace]:
        """Cell type -> its DAG."""

    @property
    @abstractmethod
    def layout(self) -> tuple[Position, ...]:
        """The cells of the search network from input to output."""

    @property
    def style(self) -> OperationStyle:
        """How the candidates of the search network are normalised: without affine parameters, pooling too."""
        return SEARCH

    def cell_at(self, position: Position) -> CellSpace:
        """DAG and candidates at a position, with the stride that they have there.

        Args:
            position: Of the layout.
        """
        cell = self.cells[position.cell]
        return cell if position.stride is None else replace(cell, reduction=position.stride == 2)

    def style_at(self, position: Position) -> OperationStyle:
        """How candidates are normalised at a position.

        Args:
            position: Of the layout.
        """
        return self.style if position.style is None else position.style

    def check_layout(self) -> None:
        """Refuses a layout that cannot be built.

        Raises:
            ValueError: if there is none, or a position names an unknown cell type or has an impossible number.
        """
        cells, layout = self.cells, self.layout
        if not layout:
            raise ValueError(f"The layout of the space '{self.name}' is empty: it needs at least one position.")
        for number, position in enumerate(layout):
            where = f"Position {number} of the space '{self.name}'"
            if position.cell not in cells:
                raise ValueError(f"{where} has the cell '{position.cell}'. Known are: {', '.join(cells)}.")
            if position.channels < 1 or (position.channels_in is not None and position.channels_in < 1):
                raise ValueError(f"{where} needs at least one channel in and out, not {position}.")
            if position.stride not in (None, 1, 2):
                raise ValueError(f"{where} has the stride {position.stride}, but must have 1 or 2.")

    @classmethod
    def check_genotype(cls, cells: Mapping[str, "CellGenotype"]) -> None:
        """Refuses cells that are not of this space; final classes may ask for more.

        Args:
            cells: By type.

        Raises:
            ValueError: if a cell type is missing, or an operation is unknown.
        """
        if not set(cls.genotype_cells) <= set(cells):
            raise ValueError(
                f"cells has {list(cells)}, but a genotype of the space '{cls.name}' needs {list(cls.genotype_cells)}."
            )
        for name, cell in cells.items():
            check_operations(tuple(edge.operation for edge in cell.edges), f"cells.{name}.nodes")


def known_spaces() -> dict[str, type[SearchSpace]]:
    """Search spaces by name: those of lit-nas, and those of your own that have been imported."""
    return dict(_KNOWN)
