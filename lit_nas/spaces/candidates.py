"""Which operations each edge still has: what a search hands to the next one, as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lit_nas.atomic_write import write_text
from lit_nas.operations import check_operations

if TYPE_CHECKING:
    from lit_nas.architecture import Architecture

__all__ = ("Candidates", "EdgeCandidates", "Rows", "candidates_by_cell", "load_candidates")

Rows: TypeAlias = dict[str, tuple[tuple[str, ...], ...]]
"""Cell type -> for each edge the names of its candidates."""
FORMAT, VERSION = "lit-nas candidates", 1


@dataclass(frozen=True)
class EdgeCandidates:
    """What is left of one edge.

    Raises:
        ValueError: if the edge does not point forward, an operation is unknown or named twice, or the numbers do not
            belong to the operations.
    """

    source: int
    target: int
    operations: tuple[str, ...]
    """Active candidates in the order of the space; none are left of an edge that is pruned as a whole."""
    probabilities: tuple[float, ...]
    """Their mixing weights at the end of the search, without noise."""

    def __post_init__(self) -> None:
        edge = f"the edge {self.source} -> {self.target}"
        if not 0 <= self.source < self.target:
            raise ValueError(f"{edge} does not point forward.")
        object.__setattr__(self, "operations", tuple(self.operations))
        object.__setattr__(self, "probabilities", tuple(float(value) for value in self.probabilities))
        check_operations(self.operations, edge)
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"{edge} names an operation twice: {', '.join(self.operations)}.")
        if len(self.operations) != len(self.probabilities):
            raise ValueError(f"{edge} has {len(self.operations)} operations, but {len(self.probabilities)} numbers.")


@dataclass(frozen=True)
class Candidates:
    """The active candidates of all cells.

    Raises:
        ValueError: if an edge appears twice.
    """

    space: str
    """Name of the search space."""
    cells: Mapping[str, tuple[EdgeCandidates, ...]]
    """Cell type -> its edges, in the order of the space."""

    def __post_init__(self) -> None:
        for name, edges in self.cells.items():
            if len({(edge.source, edge.target) for edge in edges}) < len(edges):
                raise ValueError(f"the cell '{name}' has an edge twice.")

    def rows(
        self, space: str, edges: Mapping[str, Sequence[tuple[int, int]]]
    ) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The operations of each edge, as a space keeps them.

        Args:
            space: Name of the space that takes them.
            edges: Cell type -> its edges, in order.

        Raises:
            ValueError: if they are those of another space, of other cells or of other edges.
        """
        if self.space != space:
            raise ValueError(f"they are those of the space '{self.space}', not of '{space}'")
        if set(self.cells) != set(edges):
            raise ValueError(f"they are those of the cells {', '.join(self.cells)}, not of {', '.join(edges)}")
        for name, wanted in edges.items():
            found = [(edge.source, edge.target) for edge in self.cells[name]]
            if found != list(wanted):
                raise ValueError(
                    f"the cell '{name}' has the edges {found} there and {list(wanted)} here; the number of nodes must "
                    "be that of the search that wrote the file"
                )
        return {name: tuple(edge.operations for edge in self.cells[name]) for name in edges}

    @classmethod
    def of(cls, architecture: "Architecture") -> "Candidates":
        """Those of a search as it stands.

        Args:
            architecture: Of the search.
        """
        cells, probabilities = {}, architecture.probabilities()
        for name, cell in architecture.space.cells.items():
            rows = probabilities[name].tolist()
            cells[name] = tuple(
                EdgeCandidates(*edge, tuple(cell.operations[o] for o in columns), tuple(row[o] for o in columns))
                for edge, columns, row in zip(cell.edges, architecture.active(name), rows, strict=True)
            )
        return cls(architecture.space.name, cells)

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Args:
            path: The file.
        """
        cells = {name: [vars(edge) for edge in edges] for name, edges in self.cells.items()}
        content = {"format": FORMAT, "version": VERSION, "space": self.space, "cells": cells}
        write_text(path, json.dumps(content, indent=2) + "\n")


def load_candidates(path: str | Path) -> Candidates:
    """Reads a file of candidates.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not such a file, or names what does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of candidates '{path}'.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _candidates(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise ValueError(f"'{path}' is not a file of candidates: {reason}.") from None


def _candidates(content: Any) -> Candidates:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"its format is not '{FORMAT}'")
    if content.get("version") != VERSION:
        raise ValueError(f"its version is {content.get('version')!r}, and this release reads {VERSION}")
    cells = {name: tuple(EdgeCandidates(**edge) for edge in edges) for name, edges in content["cells"].items()}
    return Candidates(content["space"], cells)


def candidates_by_cell(
    candidates: Mapping[str, Sequence[Sequence[str]]] | str | Path | None,
    space: str,
    edges: Mapping[str, Sequence[tuple[int, int]]],
    operations: Sequence[str],
) -> Rows:
    """The candidates of each edge as a space keeps them; `CellSpace` checks the rows.

    Args:
        candidates: Cell type -> for each edge its names, lists as they come from YAML; a type that is left out has all
            operations on all edges. Or the path of a file of candidates.
        space: Name of the space.
        edges: Cell type -> its edges, for all cell types of the space.
        operations: Those of the space.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a cell type is unknown or has no rows, or a file belongs to another space.
    """
    if isinstance(candidates, (str, Path)):
        found = load_candidates(candidates)
        try:
            rows = found.rows(space, edges)
            named = {name for cell in rows.values() for names in cell for name in names}
            if unknown := sorted(named - set(operations)):
                raise ValueError(
                    f"it names {', '.join(unknown)}, which space.operations does not have: {', '.join(operations)}"
                )
            return rows
        except ValueError as error:
            raise ValueError(f"space.candidates: '{candidates}' does not fit: {error}.") from error
    given = {} if candidates is None else candidates
    if unknown := sorted(set(given) - set(edges)):
        raise ValueError(f"space.candidates names the cells {unknown}; the space has {', '.join(edges)}.")
    if empty := sorted(name for name, rows in given.items() if not rows):
        raise ValueError(f"space.candidates gives {empty} no edges. Leave the cell out, and it has all operations.")
    return {name: tuple(map(tuple, rows)) for name, rows in given.items()}
