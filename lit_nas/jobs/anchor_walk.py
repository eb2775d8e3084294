"""Where the anchors of an outer search have been, which follows from the first ones and from what searches found."""

import random
from dataclasses import dataclass
from math import isfinite
from typing import Any

from lit_nas.dags import FeatureSpace, Point
from lit_nas.jobs.history import Found, History
from lit_nas.jobs.strategies import AnchorRow, Strategy

__all__ = ("AnchorWalk", "Rows", "check_count", "checked_anchor", "evaluated", "iteration_name")

Rows = tuple[AnchorRow, ...]
"""The rows of an iteration, from shallow to deep."""


@dataclass(frozen=True)
class AnchorWalk:
    """Goes from iteration to iteration; the same searches always give the same anchors.

    What is random in a row follows from seed, iteration and row, so that rows do not depend on each other.
    """

    strategy: Strategy
    """Proposes neighbours and moves anchors."""
    features: FeatureSpace
    """Which DAG stands for a point."""
    first: tuple[Point, ...]
    """The first anchors; none given means as many as `rows`, drawn uniformly from [0, 1]."""
    rows: int
    """How many there are."""
    iterations: int
    """How many there are; behind the last one there are anchors without neighbours."""
    seed: int
    """Of all that is random."""

    def until(self, history: History) -> list[Rows]:
        """The rows of all iterations that are finished, with probabilities, and of the one that comes next.

        Args:
            history: What they have found.

        Raises:
            ValueError: if an iteration has left no probabilities, or the strategy leaves the cube.
        """
        walked = [self._rows(1, self._start())]
        for number in range(1, self.iterations + 1):
            if (name := iteration_name(number)) not in history:
                break
            walked[-1] = evaluated(walked[-1], history[name])
            walked.append(self._rows(number + 1, self._moved(number, walked[-1])))
        return walked

    def _start(self) -> tuple[Point, ...]:
        draws = (self._draw("start", 1, place) for place in range(1, self.rows + 1))
        return self.first or tuple((draw.random(), draw.random(), draw.random()) for draw in draws)

    def _moved(self, number: int, rows: Rows) -> tuple[Point, ...]:
        return tuple(
            checked_anchor(
                f"What job.strategy makes of row_{place} after iteration {number}",
                self.strategy.move(row, self._draw("move", number, place)),
            )
            for place, row in enumerate(rows, 1)
        )

    def _rows(self, number: int, anchors: tuple[Point, ...]) -> Rows:
        rows = []
        for place, anchor in enumerate(anchors, 1):
            draw = self._draw("neighbours", number, place)
            around = self.strategy.neighbours(anchor, draw) if number <= self.iterations else ()
            points = (anchor, *around)
            rows.append(AnchorRow(points, tuple(map(self.features.nearest, points))))
        return tuple(rows)

    def _draw(self, purpose: str, number: int, place: int) -> random.Random:
        return random.Random(f"{self.seed} {purpose} {number} {place}")


def evaluated(rows: Rows, found: Found) -> Rows:
    """Rows with the probabilities that a search has found; cells that it has pruned have 0.

    Args:
        rows: What was searched.
        found: What the search has left.

    Raises:
        ValueError: if it has left no probabilities, or a row without any cell.
    """
    if found.candidates is None:
        raise ValueError(f"The stage `{found.name}` has left no candidates.json: do it again with --redo {found.name}.")
    compared = []
    for place, row in enumerate(rows, 1):
        values = dict[str, float]()
        for edge in found.candidates.cells.get(f"row_{place}", ()):
            values |= dict(zip(edge.operations, edge.probabilities, strict=True))
        if not values:
            raise ValueError(
                f"The stage `{found.name}` has left no cell in row_{place}: search with milder pruning and --redo "
                f"{found.name}."
            )
        compared.append(AnchorRow(row.points, row.dags, tuple(values.get(name, 0.0) for name in row.dags)))
    return tuple(compared)


def checked_anchor(where: str, point: Any) -> Point:
    """A point of the cube.

    Args:
        where: What it is, for the message.
        point: What was given.

    Raises:
        ValueError: if it is something else.
    """
    numbers = isinstance(point, (list, tuple)) and all(type(value) in (int, float) for value in point)
    if not numbers or len(point) != 3 or not all(isfinite(value) and 0 <= value <= 1 for value in point):
        raise ValueError(f"{where} must be a point of three numbers from 0 to 1, not {point!r}.")
    eccentricity, degree, vertices = map(float, point)
    return eccentricity, degree, vertices


def check_count(key: str, value: Any) -> None:
    """Refuses what is no whole number of at least 1.

    Args:
        key: Its name, for the message.
        value: What was given.

    Raises:
        ValueError: if it is something else.
    """
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} must be a whole number of at least 1, not {value!r}.")


def iteration_name(number: int) -> str:
    """The name of the stage that searches.

    Args:
        number: Of the iteration, from 1.
    """
    return f"iteration_{number:03d}"
