"""Where the anchors of an outer search go next, given how the cells around them compare.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, section 2.4, equation (1). Probabilities are comparable within a row of one
iteration only, so a strategy has no memory: where an anchor goes follows from its own row of this iteration alone. The
paper has the pseudo gradient, and says that any other strategy without memory can take its place.
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lit_nas.dags import Point

__all__ = ("AnchorRow", "EvolveBest", "PseudoGradient", "RandomSteps", "Strategy")

AXES = 3


@dataclass(frozen=True)
class AnchorRow:
    """The cells of one row in one iteration, and how they compare after it; its lists have equal lengths."""

    points: tuple[Point, ...]
    """The anchor, then its neighbours as the strategy has proposed them."""
    dags: tuple[str, ...]
    """The cell next to each point; points may share one."""
    probabilities: tuple[float, ...] = ()
    """Of the cell of each point in the competition of the row: in [0, 1], the sum over different cells is 1. Empty
    before the iteration."""

    @property
    def anchor(self) -> Point:
        """The first point."""
        return self.points[0]

    @property
    def cells(self) -> tuple[str, ...]:
        """Each cell once: equal ones would share the probability that one of them gets."""
        return tuple(dict.fromkeys(self.dags))


class Strategy(ABC):
    """Proposes points around an anchor and moves it; final subclasses are frozen dataclasses.

    Rows do not know of each other. Draws come from a generator that follows from seed, iteration and row alone.
    """

    @abstractmethod
    def neighbours(self, anchor: Point, draw: random.Random) -> tuple[Point, ...]:
        """Points whose cells compete with that of the anchor; they may lie outside of [0, 1].

        Args:
            anchor: In [0, 1].
            draw: Source of what is random.
        """

    @abstractmethod
    def move(self, row: AnchorRow, draw: random.Random) -> Point:
        """The next anchor, in [0, 1].

        Args:
            row: The anchor and its neighbours, evaluated.
            draw: Source of what is random.
        """


@dataclass(frozen=True)
class PseudoGradient(Strategy):
    """Moves the anchor along finite differences of the probabilities of its neighbours on both sides of each axis.

    Equation (1) subtracts them, which leads to less probable cells; the text and the figures of the paper go towards
    better ones, as `sign: 1` does. As printed, differences are not divided by 2 gamma, so the step belongs to its
    gamma; neither is published. The grid of the number of vertices has steps of 0.2, so a smaller gamma often
    compares a cell with itself: neighbours that share their cell have a difference of 0.

    Raises:
        ValueError: if step or gamma is no positive number, or the sign is neither 1 nor -1.
    """

    step: float = 0.5
    """Lambda."""
    gamma: float = 0.2
    """Distance of the neighbours."""
    sign: Literal[1, -1] = 1
    """1 ascends, -1 is equation (1) as printed."""

    def __post_init__(self) -> None:
        _refuse_unless_positive(step=self.step, gamma=self.gamma)
        if self.sign not in (1, -1):
            raise ValueError(f"job.strategy.sign must be 1 (ascent) or -1 (as equation 1 has it), not {self.sign!r}.")

    def neighbours(self, anchor: Point, draw: random.Random) -> tuple[Point, ...]:
        """For each axis the point above and the one below."""
        return both_sides(anchor, self.gamma)

    def move(self, row: AnchorRow, draw: random.Random) -> Point:
        """A step along the differences."""
        above, below = row.probabilities[1::2], row.probabilities[2::2]
        steps = (self.sign * self.step * (more - less) for more, less in zip(above, below, strict=True))
        return moved(row.anchor, steps)


@dataclass(frozen=True)
class RandomSteps(Strategy):
    """Moves the anchor at random, whatever the probabilities are: what a search is to be compared with.

    Raises:
        ValueError: if step or gamma is no positive number.
    """

    step: float = 0.1
    """The largest step along an axis; all up to it are equally likely."""
    gamma: float = 0.2
    """Distance of the neighbours, which make rows as large as those of `PseudoGradient`."""

    def __post_init__(self) -> None:
        _refuse_unless_positive(step=self.step, gamma=self.gamma)

    def neighbours(self, anchor: Point, draw: random.Random) -> tuple[Point, ...]:
        """As those of `PseudoGradient`."""
        return both_sides(anchor, self.gamma)

    def move(self, row: AnchorRow, draw: random.Random) -> Point:
        """A step of uniform length along each axis."""
        return moved(row.anchor, [draw.uniform(-self.step, self.step) for _ in range(AXES)])


@dataclass(frozen=True)
class EvolveBest(Strategy):
    """Evolution of the best: a row is a parent and its mutants, and the most probable of them is the next parent.

    The earliest of equally probable ones counts, so a mutant that shares the cell of its parent does not replace it.

    Raises:
        ValueError: if the deviation is no positive number, or there are no mutants.
    """

    deviation: float = 0.2
    """Standard deviation of a mutation along each axis."""
    mutants: int = 6
    """How many there are; with six a row is as large as that of `PseudoGradient`."""

    def __post_init__(self) -> None:
        _refuse_unless_positive(deviation=self.deviation)
        if type(self.mutants) is not int or self.mutants < 1:
            raise ValueError(f"job.strategy.mutants must be a whole number of at least 1, not {self.mutants!r}.")

    def neighbours(self, anchor: Point, draw: random.Random) -> tuple[Point, ...]:
        """The mutants: normal steps, cut at the faces of the cube."""
        return tuple(moved(anchor, [draw.gauss(0.0, self.deviation) for _ in range(AXES)]) for _ in range(self.mutants))

    def move(self, row: AnchorRow, draw: random.Random) -> Point:
        """The point of the most probable cell."""
        return row.points[row.probabilities.index(max(row.probabilities))]


def both_sides(anchor: Point, gamma: float) -> tuple[Point, ...]:
    """For each axis the point above and the one below, which may lie outside of [0, 1].

    Args:
        anchor: What lies between them.
        gamma: How far away they are.
    """
    return tuple(
        _point(value + (sign * gamma if place == axis else 0.0) for place, value in enumerate(anchor))
        for axis in range(AXES)
        for sign in (1, -1)
    )


def moved(anchor: Point, steps: Iterable[float]) -> Point:
    """A point with a step along each axis, cut at the faces of the cube.

    Args:
        anchor: In [0, 1].
        steps: One for each axis.
    """
    return _point(min(max(value + step, 0.0), 1.0) for value, step in zip(anchor, steps, strict=True))


def _point(values: Iterable[float]) -> Point:
    eccentricity, degree, vertices = values
    return eccentricity, degree, vertices


def _refuse_unless_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"job.strategy.{name} must be a positive number, not {value!r}.")
