"""What a deriver is: probabilities in, genotype out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal

from torch import Tensor

from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.operations import check_operations, original
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = (
    "CellwiseDeriver",
    "Deriver",
    "EmptyCellError",
    "Masks",
    "best_of_each",
    "check_excluded",
    "choices",
    "probability_rows",
)

Masks = Mapping[str, Tensor]
"""Cell type -> bool [E, O], False where a candidate has been pruned."""


class EmptyCellError(ValueError):
    """Nothing can be derived at present, because no operation of a cell is left that reaches its output."""


class Deriver(ABC):
    """Makes an architecture discrete. A pure function; final subclasses are frozen dataclasses."""

    @property
    def compares(self) -> Literal["importance", "logits"]:
        """What it is handed: probabilities times weights of edges, or the parameters themselves."""
        return "importance"

    @abstractmethod
    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor], masks: Masks | None = None) -> Genotype:
        """The discrete cells.

        Args:
            space: What was searched.
            probabilities: Cell type -> what it `compares`, [E, O].
            masks: Active candidates; a pruned one is never chosen, whatever its probability. None means that nothing
                has been pruned.

        Raises:
            EmptyCellError: if no operation of a cell is left.
            ValueError: if probabilities or masks do not fit the space.
        """


class CellwiseDeriver(Deriver, ABC):
    """One that makes each cell type discrete by itself."""

    exclude: tuple[str, ...]
    """Operations that are never chosen."""

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor], masks: Masks | None = None) -> Genotype:
        """See `Deriver`."""
        cells = {
            name: self._cell(cell, probability_rows(cell, probabilities), choices(cell, self.exclude, masks))
            for name, cell in space.cells.items()
        }
        return Genotype(cells, space.name)

    @abstractmethod
    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        """The discrete cell.

        Args:
            cell: The searched cell type.
            rows: What is compared, E lists of O numbers.
            allowed: For each edge the columns that may be chosen.
        """


def best_of_each(rows: Sequence[Sequence[float]], allowed: Sequence[Sequence[int]]) -> dict[int, int]:
    """Edge -> column of the largest number that may be chosen, the first one of equals; edges without any are left out.

    Args:
        rows: E lists of O numbers.
        allowed: For each edge the columns that may be chosen.
    """
    return {edge: max(columns, key=rows[edge].__getitem__) for edge, columns in enumerate(allowed) if columns}


def check_excluded(exclude: tuple[str, ...], name: str) -> None:
    """Refuses unknown operations.

    Args:
        exclude: Names of operations that a deriver never chooses.
        name: Class of the deriver, for the message.

    Raises:
        ValueError: listing the known operations.
    """
    check_operations(exclude, f"{name}.exclude (model.deriver.exclude)")


def choices(cell: CellSpace, exclude: tuple[str, ...], masks: Masks | None) -> list[list[int]]:
    """For each of E edges the columns of the operations that may be chosen, in order; none for a pruned edge.

    Args:
        cell: The searched cell type.
        exclude: Names that may not be chosen.
        masks: Active candidates; None means all that the edges have.

    Raises:
        ValueError: if the deriver excludes all operations of the cell, or the mask does not fit it.
    """
    columns = [column for column, name in enumerate(cell.operations) if not {name, original(name)} & set(exclude)]
    if not columns:
        raise ValueError(
            f"The deriver excludes {list(exclude)}, so that no operation of cell '{cell.name}' is left: it has "
            f"{list(cell.operations)}. Exclude fewer (model.deriver.exclude) or search more (model.space.operations)."
        )
    if masks is None:
        return [[column for column in own if column in columns] for own in cell.allowed]
    active = _rows_of(cell, masks, "masks")
    rows = zip(cell.allowed, active, strict=True)
    return [[column for column in own if column in columns and row[column]] for own, row in rows]


def probability_rows(cell: CellSpace, probabilities: Mapping[str, Tensor]) -> list[list[float]]:
    """Probabilities of one cell type on the host, E lists of O numbers.

    Args:
        cell: The searched cell type.
        probabilities: Cell type -> [E, O].

    Raises:
        ValueError: if the cell is missing, its shape is wrong, or a value is not finite.
    """
    rows = _rows_of(cell, probabilities, "probabilities")
    if not all(isfinite(value) for row in rows for value in row):
        raise ValueError(f"The probabilities of cell '{cell.name}' are not finite: the search has diverged.")
    return rows


def _rows_of(cell: CellSpace, tables: Mapping[str, Tensor], what: str) -> list[list[float]]:
    if cell.name not in tables:
        raise ValueError(f"There are no {what} for cell '{cell.name}', only for {sorted(tables)}.")
    table, shape = tables[cell.name], (len(cell.edges), len(cell.operations))
    if tuple(table.shape) != shape:
        raise ValueError(
            f"The {what} of cell '{cell.name}' have the shape {tuple(table.shape)}, but its edges and operations are "
            f"{shape}."
        )
    rows: list[list[float]] = table.tolist()
    return rows
