"""The course of the mixing weights over the epochs, for charts of the whole history."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lit_nas.spaces import SearchSpace
from lit_nas.trackers import Chart

__all__ = ("AlphaHistory", "Candidate", "candidates_of", "panel_names")

Line = tuple[str, str, str]
"""Cell, edge and operation."""


class Candidate(NamedTuple):
    """An operation that an edge of the search network was built with."""

    cell: str
    number: int
    """Of the edge: the row of alpha."""
    edge: str
    """As in `0-2`."""
    column: int
    """Of alpha."""
    operation: str

    @property
    def line(self) -> Line:
        """What it is in a history."""
        return self.cell, self.edge, self.operation

    @property
    def scalar(self) -> str:
        """What its mixing weight is called in logs."""
        return f"alpha/{self.cell}/{self.edge}/{self.operation}"


def candidates_of(space: SearchSpace) -> Iterator[Candidate]:
    """All candidates, in the order of cells, edges and columns.

    Args:
        space: What is searched.
    """
    for name, cell in space.cells.items():
        for number, (source, target) in enumerate(cell.edges):
            for column in cell.allowed[number]:
                yield Candidate(name, number, f"{source}-{target}", column, cell.operations[column])


def panel_names(space: SearchSpace) -> dict[str, dict[str, tuple[str, ...]]]:
    """By cell and edge the names of the scalars that belong into one chart.

    Args:
        space: What is searched.
    """
    panels: dict[str, dict[str, tuple[str, ...]]] = {}
    for each in candidates_of(space):
        edges = panels.setdefault(each.cell, {})
        edges[each.edge] = (*edges.get(each.edge, ()), each.scalar)
    return panels


class AlphaHistory:
    """Epochs with the mixing weight of each candidate of each edge."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.weights: dict[Line, list[float]] = {}

    @classmethod
    def read(cls, path: Path, before: int) -> "AlphaHistory":
        """Takes over what a run has done before it was interrupted.

        Args:
            path: Its `alphas.csv`; there need be none.
            before: The epoch that is trained next; later ones are trained again.
        """
        history, rows = cls(), dict[int, dict[Line, float]]()
        if before > 0 and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if (epoch := int(row["epoch"])) < before:
                        line = row["cell"], f"{row['source']}-{row['target']}", row["operation"]
                        rows.setdefault(epoch, {})[line] = float(row["probability"])
        for epoch, values in sorted(rows.items()):
            history.add(epoch, values)
        return history

    def add(self, epoch: int, values: Mapping[Line, float]) -> None:
        """Adds an epoch.

        Args:
            epoch: Its number.
            values: The weight of each candidate.
        """
        self.epochs.append(epoch)
        for line, value in values.items():
            self.weights.setdefault(line, []).append(value)

    def chart(self, cell: str) -> Chart:
        """All edges of a cell.

        Args:
            cell: Its name.
        """
        panels: dict[str, dict[str, list[float]]] = {}
        for (name, edge, operation), values in self.weights.items():
            if name == cell:
                panels.setdefault(edge, {})[operation] = values
        return Chart(f"alphas/{cell}", f"{cell} cell, mixing weights", "epoch", list(self.epochs), panels)
