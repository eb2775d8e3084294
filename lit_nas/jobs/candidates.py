"""Which operations each edge still has: what a search hands to the next one, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_nas.atomic_write import write_text
from lit_nas.operations import check_operations

if TYPE_CHECKING:
    from lit_nas.architecture import Architecture

__all__ = ("Candidate", "Candidates", "load_candidates")

FORMAT, VERSION = "lit-nas candidates", 1


@dataclass(frozen=True)
class Candidate:
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
        ValueError: if an edge stands twice.
    """

    space: str
    """Name of the search space."""
    cells: Mapping[str, tuple[Candidate, ...]]
    """Cell type -> its edges, in the order of the space."""

    def __post_init__(self) -> None:
        for name, edges in self.cells.items():
            if len({(edge.source, edge.target) for edge in edges}) < len(edges):
                raise ValueError(f"the cell '{name}' has an edge twice.")

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
                Candidate(*edge, tuple(cell.operations[o] for o in columns), tuple(row[o] for o in columns))
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
        raise ValueError(f"'{path}' is not a file of candidates: {reason}.") from error


def _candidates(content: Any) -> Candidates:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"its format is not '{FORMAT}'")
    if content.get("version") != VERSION:
        raise ValueError(f"its version is {content.get('version')!r}, and this release reads {VERSION}")
    cells = {name: tuple(Candidate(**edge) for edge in edges) for name, edges in content["cells"].items()}
    return Candidates(content["space"], cells)
