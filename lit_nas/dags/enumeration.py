"""All DAGs up to a number of vertices, with what is measured of each; enumerated once and kept in a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lit_nas.atomic_write import write_text
from lit_nas.dags.dag import Dag, canonical_edges

__all__ = ("CACHE", "MOST_VERTICES", "MeasuredDag", "all_dags", "cache_folder", "measure")

CACHE = "LIT_NAS_CACHE"
"""Variable of the environment that names another folder for files that can be made again."""
MOST_VERTICES = 7
"""There are 237,317 DAGs with 7 vertices, which take a minute; those with 8 would take hours."""
FORMAT = "lit-nas dags 1"


class MeasuredDag(NamedTuple):
    """A DAG by name, and what is measured of its undirected graph, in integers, so that equal values are equal."""

    name: str
    vertices: int
    """n."""
    eccentricity: int
    """n^2 times the variance of the eccentricities of its vertices."""
    degree: int
    """n^2 times the variance of the degrees of its vertices."""


@cache
def all_dags(vertices: int) -> tuple[MeasuredDag, ...]:
    """One DAG of each kind (up to isomorphism) among the weakly connected ones: 1, 1, 4, 24, 267, 5647 with 1 to 6.

    They are read from a file in `cache_folder()`; where it is missing or damaged they are enumerated, and the file is
    written if it can be.

    Args:
        vertices: The most vertices of a DAG.

    Returns:
        By number of vertices, then by number of edges, then by name.

    Raises:
        ValueError: if the number is below 1, or so large that the enumeration would take hours.
    """
    if not 1 <= vertices <= MOST_VERTICES:
        raise ValueError(
            f"DAGs are enumerated for 1 to {MOST_VERTICES} vertices, not {vertices}: there are some eighteen million "
            f"with {MOST_VERTICES + 1} vertices, which would take hours."
        )
    folder = cache_folder()
    path = None if folder is None else folder / f"dags-{vertices}.txt"
    if path is not None and (found := _read(path)) is not None:
        return found
    measured = sorted(map(measure, _enumerate(vertices)), key=lambda dag: (dag.vertices, dag.name.count("_"), dag.name))
    if path is not None:
        body = "".join(f"{' '.join(map(str, dag))}\n" for dag in measured)
        with suppress(OSError):  # a folder that cannot be written to costs time, nothing else
            write_text(path, f"{_head(body)}\n{body}")
    return tuple(measured)


def cache_folder() -> Path | None:
    """Where files lie that can be made again: LIT_NAS_CACHE, otherwise `lit_nas` in the cache of the user.

    None where the user has no home.
    """
    if folder := os.environ.get(CACHE):
        return Path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "lit_nas"
    try:
        return Path.home() / ".cache" / "lit_nas"
    except RuntimeError:
        return None


def _head(body: str) -> str:
    return f"{FORMAT} {sha256(body.encode()).hexdigest()}"


def _read(path: Path) -> tuple[MeasuredDag, ...] | None:
    """What a file holds, or None if it is not there or not as it was written."""
    try:
        head, _, body = path.read_text(encoding="ascii").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if head != _head(body):
        return None
    rows = (line.split(" ") for line in body.splitlines())
    return tuple(MeasuredDag(name, *map(int, numbers)) for name, *numbers in rows)


def _enumerate(vertices: int) -> Iterator[Dag]:
    """Each DAG is a smaller one and a vertex that no edge leaves; the smaller one need not be connected."""
    level: set[tuple[tuple[int, int], ...]] = {()}
    for count in range(1, vertices + 1):
        if count > 1:
            level = {
                canonical_edges((*_predecessors(count - 1, edges), sources))
                for edges in level
                for sources in range(1 << (count - 1))
            }
        for edges in level:
            with suppress(ValueError):  # those that are not connected
                yield Dag(count, edges)


def _predecessors(count: int, edges: tuple[tuple[int, int], ...]) -> list[int]:
    before = [0] * count
    for source, target in edges:
        before[target] |= 1 << source
    return before


def measure(dag: Dag) -> MeasuredDag:
    """What is measured of a DAG.

    Args:
        dag: Without the vertices that its cell has for input and output.
    """
    near = [0] * dag.vertices
    for source, target in dag.edges:
        near[source] |= 1 << target
        near[target] |= 1 << source
    distances = [_eccentricity(vertex, near) for vertex in range(dag.vertices)]
    degrees = [bin(row).count("1") for row in near]
    return MeasuredDag(dag.name, dag.vertices, _spread(distances), _spread(degrees))


def _eccentricity(vertex: int, near: list[int]) -> int:
    """The distance of the vertex that is farthest away; the graph is connected."""
    reached, distance = 1 << vertex, 0
    while reached != (1 << len(near)) - 1:
        for other in [other for other in range(len(near)) if reached >> other & 1]:
            reached |= near[other]
        distance += 1
    return distance


def _spread(values: list[int]) -> int:
    """n^2 times the variance of n values."""
    return len(values) * sum(value * value for value in values) - sum(values) ** 2
