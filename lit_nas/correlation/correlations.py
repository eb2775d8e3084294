"""What was found of the operations of a search network: their correlations on each edge, and on average."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from statistics import fmean

from lit_nas.correlation.feature_moments import Definition

__all__ = ("Correlations", "EdgeCorrelation", "Matrix")

Matrix = tuple[tuple[float, ...], ...]
"""K rows of K numbers, symmetric."""


@dataclass(frozen=True)
class EdgeCorrelation:
    """The correlations on one edge of one cell."""

    cell: int
    """Number of the searched cell in the network, from 0."""
    type: str
    """Cell type."""
    source: int
    target: int
    operations: tuple[str, ...]
    """K names, in the order of the space."""
    matrix: Matrix
    """NaN in row and column of an operation whose outputs are constant there."""
    constant: tuple[str, ...] = ()
    """Operations whose outputs do not vary."""

    @property
    def place(self) -> str:
        """The edge in words."""
        return f"the edge {self.source} -> {self.target} of cell {self.cell} ({self.type})"


@dataclass(frozen=True)
class Correlations:
    """The correlations of a search network.

    Raises:
        ValueError: if there is no edge.
    """

    edges: tuple[EdgeCorrelation, ...]
    operations: tuple[str, ...]
    """All names, in the order of the space."""
    images: int
    """Number of images behind each number."""
    definition: Definition
    """What was centred."""

    def __post_init__(self) -> None:
        if not self.edges:
            raise ValueError("Correlations need at least one edge.")

    def mean(self) -> Matrix:
        """The mean over the edges that have both operations, not constant, in the order of `operations`.

        Raises:
            ValueError: if there is no such edge for two operations.
        """
        numbers = self._numbers()
        return tuple(tuple(self._mean_of(numbers, a, b) for b in self.operations) for a in self.operations)

    def _numbers(self) -> dict[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = {}
        for edge in self.edges:
            for a, row in zip(edge.operations, edge.matrix, strict=True):
                for b, value in zip(edge.operations, row, strict=True):
                    if not isnan(value):
                        found.setdefault((a, b), []).append(value)
        return found

    def _mean_of(self, numbers: dict[tuple[str, str], list[float]], a: str, b: str) -> float:
        if (a, b) in numbers:
            return fmean(numbers[a, b])
        if places := [edge.place for edge in self.edges if {a, b} & set(edge.constant)]:
            names = " and ".join(dict.fromkeys((a, b)))
            raise ValueError(
                f"{names} cannot be correlated, because outputs are constant wherever both are ({places[0]} for one): "
                "train the network longer, or leave such an operation out (correlation.exclude)."
            )
        raise ValueError(
            f"No edge has both {a} and {b}, so that they have no correlation: look at more edges (correlation.edges), "
            "or leave one of them out (correlation.exclude)."
        )

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A table as texts: the heading, a row per edge and operation, and the means; empty where there is no number.

        Columns are cell, type, source, target, operation, and then one for each operation.
        """
        yield "cell", "type", "source", "target", "operation", *self.operations
        for edge in self.edges:
            for name, row in zip(edge.operations, edge.matrix, strict=True):
                values = dict(zip(edge.operations, row, strict=True))
                numbers = (_text(values.get(each, float("nan"))) for each in self.operations)
                yield str(edge.cell), edge.type, str(edge.source), str(edge.target), name, *numbers
        for name, row in zip(self.operations, self.mean(), strict=True):
            yield "mean", "", "", "", name, *map(_text, row)

    def csv(self) -> str:
        """The table as a file of comma-separated values."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.rows())
        return text.getvalue()


def _text(value: float) -> str:
    return "" if isnan(value) else f"{value:.6f}"
