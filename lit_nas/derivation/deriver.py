"""What a deriver is: probabilities in, genotype out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import isfinite

from torch import Tensor

from lit_nas.genotype import Genotype
from lit_nas.operations import check_operations
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("Deriver", "candidate_columns", "check_excluded", "probability_rows")


class Deriver(ABC):
    """Makes an architecture discrete. A pure function; final subclasses are frozen dataclasses."""

    @abstractmethod
    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor]) -> Genotype:
        """The discrete cells.

        Args:
            space: What was searched.
            probabilities: Cell type -> [E, O].

        Raises:
            ValueError: if the probabilities do not fit the space, or nothing can be derived from them.
        """


def check_excluded(exclude: tuple[str, ...], name: str) -> None:
    """Refuses unknown operations.

    Args:
        exclude: Names of operations that a deriver never chooses.
        name: Class of the deriver, for the message.

    Raises:
        ValueError: listing the known operations.
    """
    check_operations(exclude, f"{name}.exclude (model.deriver.exclude)")


def candidate_columns(cell: CellSpace, exclude: tuple[str, ...]) -> list[int]:
    """Columns of the operations that may be chosen, in order.

    Args:
        cell: The searched cell type.
        exclude: Names that may not.

    Raises:
        ValueError: if none is left.
    """
    columns = [column for column, name in enumerate(cell.operations) if name not in exclude]
    if not columns:
        raise ValueError(
            f"The deriver excludes {list(exclude)}, so that no operation of cell '{cell.name}' is left: it has "
            f"{list(cell.operations)}. Exclude fewer (model.deriver.exclude) or search more (model.space.operations)."
        )
    return columns


def probability_rows(cell: CellSpace, probabilities: Mapping[str, Tensor]) -> list[list[float]]:
    """Probabilities of one cell type on the host, E lists of O numbers.

    Args:
        cell: The searched cell type.
        probabilities: Cell type -> [E, O].

    Raises:
        ValueError: if the cell is missing, its shape is wrong, or a value is not finite.
    """
    if cell.name not in probabilities:
        raise ValueError(f"There are no probabilities for cell '{cell.name}', only for {sorted(probabilities)}.")
    table, shape = probabilities[cell.name], (len(cell.edges), len(cell.operations))
    if tuple(table.shape) != shape:
        raise ValueError(
            f"The probabilities of cell '{cell.name}' have the shape {tuple(table.shape)}, but its edges and "
            f"operations are {shape}."
        )
    rows: list[list[float]] = table.tolist()
    if not all(isfinite(value) for row in rows for value in row):
        raise ValueError(f"The probabilities of cell '{cell.name}' are not finite: the search has diverged.")
    return rows
