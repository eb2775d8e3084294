"""Genotypes of spaces whose network is a chain of cells with one edge each."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("check_chain",)


def check_chain(
    space: str, kind: str, cells: Mapping[str, "CellGenotype"], fits: Callable[[str], bool], wanted: str
) -> None:
    """Refuses cells that are no chain.

    Args:
        space: Name of the space, for the message.
        kind: What its cells are called, before `_1` and so on.
        cells: By name.
        fits: Whether an operation may be the one of a cell.
        wanted: What such an operation is, for the message.

    Raises:
        ValueError: if cells have other names, or one has another number of inputs or edges, or another operation.
    """
    if list(cells) != [f"{kind}_{number + 1}" for number in range(len(cells))]:
        raise ValueError(
            f"A genotype of the space '{space}' has the cells {kind}_1, {kind}_2 and so on, but this one has "
            f"{', '.join(cells)}."
        )
    for name, cell in cells.items():
        if len(cell.edges) != 1 or cell.inputs != 1 or not fits(cell.edges[0].operation):
            raise ValueError(
                f"cells.{name} of a genotype of the space '{space}' has one input and one edge with {wanted}, but this "
                f"one has {cell.inputs} and {', '.join(edge.operation for edge in cell.edges)}."
            )
