"""DAGs as points of a cube, and the DAG that is nearest to a point.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.4 and 3.2. The paper names the features: variance of the
eccentricities, variance of the degrees, number of vertices. That they are those of the undirected graph without input
and output, and that variances are divided by n, is read into it: eccentricities along directed edges would be infinite.
How a point becomes a DAG is not said there; many DAGs share a point, and both ways to choose one of them are here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lit_nas.dags.dag import parse_dag
from lit_nas.dags.enumeration import MeasuredDag, all_dags, measure

__all__ = ("FeatureSpace", "Point")

Point = tuple[float, float, float]
"""Variance of eccentricities, variance of degrees, number of vertices, each in [0, 1]."""


@dataclass(frozen=True)
class FeatureSpace:
    """The features of all DAGs up to a number of vertices, each brought to [0, 1] by its least and its largest value.

    A feature that is the same for all of them (up to two vertices both variances are) is 0.

    Raises:
        ValueError: if there are no DAGs, or too many to enumerate, or the choice is unknown.
    """

    vertices: int = 6
    """The most vertices of a DAG; the paper has 6."""
    choice: Literal["random", "first"] = "random"
    """Which DAG stands for a point that several share: one drawn for this point once and for all, or the first by
    number of edges and name."""
    seed: int = 0
    """Of that draw."""

    def __post_init__(self) -> None:
        if self.choice not in ("random", "first"):
            raise ValueError(f"choice of FeatureSpace must be random or first, not {self.choice!r}.")
        try:
            all_dags(self.vertices)
        except ValueError as error:
            raise ValueError(f"vertices of FeatureSpace: {error}") from None

    @cached_property
    def points(self) -> dict[Point, tuple[str, ...]]:
        """Each point that DAGs have, in ascending order, with their names: 66 points for up to 6 vertices."""
        found: dict[Point, list[str]] = {}
        for dag in all_dags(self.vertices):
            found.setdefault(self._point(dag), []).append(dag.name)
        return {point: tuple(found[point]) for point in sorted(found)}

    def point(self, name: str) -> Point:
        """The features of a DAG.

        Args:
            name: Of the DAG.

        Raises:
            ValueError: if it is not the name of a DAG, or has more vertices than the space.
        """
        dag = parse_dag(name)
        if dag.vertices > self.vertices:
            raise ValueError(f"'{name}' has more vertices than the {self.vertices} of the feature space.")
        return self._point(measure(dag))

    def nearest_point(self, point: Sequence[float]) -> Point:
        """The features next to a point by Euclidean distance, the least ones of several.

        Args:
            point: Three finite numbers, which may lie outside of [0, 1].

        Raises:
            ValueError: if it is no such point.
        """
        if len(point) != 3 or not all(map(math.isfinite, point)):
            raise ValueError(f"A point of the feature space is three finite numbers, not {list(point)}.")
        return min(self.points, key=lambda features: math.dist(features, point))

    def nearest(self, point: Sequence[float]) -> str:
        """The DAG that stands for the features next to a point; the same one whenever it is asked for.

        Args:
            point: As in `nearest_point`.
        """
        features = self.nearest_point(point)
        names = self.points[features]
        number = list(self.points).index(features)
        return names[0] if self.choice == "first" else random.Random(f"{self.seed} {number}").choice(names)

    @cached_property
    def _ranges(self) -> tuple[tuple[float, float], ...]:
        values = zip(*map(_features, all_dags(self.vertices)), strict=True)
        return tuple((min(column), max(column)) for column in values)

    def _point(self, dag: MeasuredDag) -> Point:
        scaled = (
            (value - low) / (high - low) if high > low else 0.0
            for value, (low, high) in zip(_features(dag), self._ranges, strict=True)
        )
        eccentricity, degree, vertices = scaled
        return eccentricity, degree, vertices


def _features(dag: MeasuredDag) -> Point:
    return dag.eccentricity / dag.vertices**2, dag.degree / dag.vertices**2, float(dag.vertices)
