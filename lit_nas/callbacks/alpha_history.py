"""The course of the mixing weights over the epochs, for charts of the whole history."""

import csv
from collections.abc import Mapping
from pathlib import Path

from lit_nas.search import SearchModule
from lit_nas.trackers import Chart

__all__ = ("AlphaHistory", "panel_names")

Line = tuple[str, str, str]
"""Cell, edge and operation."""


def panel_names(search: SearchModule) -> dict[str, dict[str, tuple[str, ...]]]:
    """By cell and edge the names of the scalars that belong into one chart.

    Args:
        search: The search.
    """
    return {
        name: {
            f"{source}-{target}": tuple(
                f"alpha/{name}/{source}-{target}/{cell.operations[o]}" for o in cell.allowed[number]
            )
            for number, (source, target) in enumerate(cell.edges)
        }
        for name, cell in search.architecture.space.cells.items()
    }


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
