"""Directed acyclic graphs by name, each in one numbering of its vertices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

__all__ = (
    "EXAMPLE",
    "MOST_NAMED_VERTICES",
    "PREFIX",
    "Dag",
    "canonical_dag",
    "canonical_edges",
    "canonical_name",
    "parse_dag",
)

PREFIX = "dag"
EXAMPLE = "dag4_01_02_13_23"
MOST_NAMED_VERTICES = 10
"""A name has one digit for each end of an edge."""
_NAME = re.compile(rf"{PREFIX}(?P<vertices>0|[1-9][0-9]*)(?P<edges>(_[0-9][0-9])*)")


@dataclass(frozen=True)
class Dag:
    """A weakly connected DAG whose edges lead from a lower to a higher number, so that the numbering is topological.

    Raises:
        ValueError: if it has no vertex or more than ten, an edge that does not lead upwards or is there twice, or a
            part that is connected to nothing else.
    """

    vertices: int
    """Number of vertices, which are called 0, 1 and so on."""
    edges: tuple[tuple[int, int], ...] = ()
    """Pairs (source, target); kept sorted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(sorted((int(a), int(b)) for a, b in self.edges)))
        if not 1 <= self.vertices <= MOST_NAMED_VERTICES:
            raise ValueError(f"A DAG has 1 to {MOST_NAMED_VERTICES} vertices, not {self.vertices}.")
        if wrong := [edge for edge in self.edges if not 0 <= edge[0] < edge[1] < self.vertices]:
            raise ValueError(
                f"The edges {wrong} do not lead from a lower to a higher one of the vertices 0 to {self.vertices - 1}."
            )
        if len(set(self.edges)) < len(self.edges):
            raise ValueError(f"An edge is there twice: {list(self.edges)}.")
        if not _connected(self.vertices, self.edges):
            raise ValueError(f"Its {self.vertices} vertices are not all connected with each other.")

    @cached_property
    def name(self) -> str:
        """The number of vertices and the edges: `dag4_01_02_13_23`; `dag1` is a single vertex."""
        return "_".join((f"{PREFIX}{self.vertices}", *(f"{a}{b}" for a, b in self.edges)))

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each vertex those with an edge to it, ascending."""
        return tuple(tuple(a for a, b in self.edges if b == vertex) for vertex in range(self.vertices))

    @cached_property
    def sinks(self) -> tuple[int, ...]:
        """The vertices that no edge leaves, ascending."""
        left = {a for a, _ in self.edges}
        return tuple(vertex for vertex in range(self.vertices) if vertex not in left)

    @property
    def convolutions(self) -> int:
        """How many convolutions its cell has: one for each edge, and one between each sink and the output."""
        return len(self.edges) + len(self.sinks)


def canonical_dag(vertices: int, edges: tuple[tuple[int, int], ...]) -> Dag:
    """The DAG in the one numbering that all graphs of its kind (isomorphic ones) have in common.

    Args:
        vertices: Number of vertices.
        edges: Pairs (source, target) of the numbers 0 to vertices - 1, in any order and direction of the numbers.

    Raises:
        ValueError: if the edges form a cycle, or as `Dag` does.
    """
    if wrong := [edge for edge in edges if not all(0 <= end < vertices for end in edge)]:
        raise ValueError(f"The edges {wrong} have ends that are none of the vertices 0 to {vertices - 1}.")
    before = [0] * vertices
    for a, b in edges:
        before[b] |= 1 << a
    return Dag(vertices, canonical_edges(tuple(before)))


def canonical_edges(before: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The edges of a graph in its canonical numbering, which need not be connected.

    Vertices are sorted by the length of the longest path to them, then refined by the colours of their neighbours; what
    remains equal is told apart by trying each one, of which the least list of edges is taken. Vertices with the same
    neighbours are exchangeable, so that one of them is tried.

    Args:
        before: For each vertex the set of its predecessors, as bits.

    Raises:
        ValueError: if there is a cycle.
    """
    count = len(before)
    after = tuple(sum(1 << b for b in range(count) if before[b] >> a & 1) for a in range(count))
    return min(_numberings(_refined(_depths(before), before, after), before, after))


def _depths(before: tuple[int, ...]) -> list[int]:
    depths, placed, depth = [0] * len(before), 0, 0
    while placed != (1 << len(before)) - 1:
        ready = [v for v, sources in enumerate(before) if not placed >> v & 1 and not sources & ~placed]
        if not ready:
            cycle = [v for v in range(len(before)) if not placed >> v & 1]
            raise ValueError(f"A DAG has no cycle, but there is one among the vertices {cycle}.")
        for vertex in ready:
            depths[vertex] = depth
            placed |= 1 << vertex
        depth += 1
    return depths


def _refined(colours: list[int], before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """Colours 0, 1 and so on that tell apart what its neighbours tell apart, in the order of those before."""
    vertices = range(len(colours))
    while True:
        signs = [
            (
                colours[v],
                tuple(sorted(colours[u] for u in vertices if before[v] >> u & 1)),
                tuple(sorted(colours[u] for u in vertices if after[v] >> u & 1)),
            )
            for v in vertices
        ]
        ranks = {sign: rank for rank, sign in enumerate(sorted(set(signs)))}
        if len(ranks) == len(set(colours)):
            return [ranks[sign] for sign in signs]
        colours = [ranks[sign] for sign in signs]


def _numberings(
    colours: list[int], before: tuple[int, ...], after: tuple[int, ...]
) -> list[tuple[tuple[int, int], ...]]:
    """The edges under each numbering that is left to try."""
    vertices = range(len(colours))
    members = next((same for c in vertices if len(same := [v for v in vertices if colours[v] == c]) > 1), None)
    if members is None:
        return [tuple(sorted((colours[u], colours[v]) for v in vertices for u in vertices if before[v] >> u & 1))]
    found, seen = [], set()
    for chosen in members:
        if (twins := (before[chosen], after[chosen])) not in seen:
            seen.add(twins)
            alone = [2 * colour + (colour == colours[chosen] and v != chosen) for v, colour in enumerate(colours)]
            found += _numberings(_refined(alone, before, after), before, after)
    return found


def _connected(vertices: int, edges: tuple[tuple[int, int], ...]) -> bool:
    reached, grows = {0}, True
    while grows:
        more = {end for edge in edges if reached & set(edge) for end in edge} - reached
        reached, grows = reached | more, bool(more)
    return len(reached) == vertices


@cache
def parse_dag(name: str) -> Dag:
    """The DAG of a name; a graph has one name only, that of its canonical numbering.

    Args:
        name: As in `dag4_01_02_13_23`.

    Raises:
        ValueError: if it is not such a name, the graph has a cycle, a part that is connected to nothing else or an edge
            twice, or it is called otherwise, which the message then says.
    """
    canonical = canonical_name(name)
    if canonical != name:
        raise ValueError(f"The DAG '{name}' is called '{canonical}': vertices are numbered so that it has one name.")
    return Dag(*_read(name))


def canonical_name(name: str) -> str:
    """The one name of a graph that is given in any numbering.

    Args:
        name: As in `dag4_01_02_13_23`, with the vertices in any order.

    Raises:
        ValueError: if it is not such a name, or the graph has a cycle, a part that is connected to nothing else or an
            edge twice.
    """
    count, edges = _read(name)
    try:
        if not 1 <= count <= MOST_NAMED_VERTICES:
            raise ValueError(f"A DAG has 1 to {MOST_NAMED_VERTICES} vertices, not {count}.")
        if len(set(edges)) < len(edges):
            raise ValueError("An edge is there twice.")
        return canonical_dag(count, edges).name
    except ValueError as error:
        raise ValueError(f"'{name}' names no DAG: {str(error)[0].lower()}{str(error)[1:]}") from None


def _read(name: str) -> tuple[int, tuple[tuple[int, int], ...]]:
    if not (found := _NAME.fullmatch(name)):
        raise ValueError(
            f"'{name}' is no name of a DAG: it is the number of vertices and two digits for each edge, as in {EXAMPLE}."
        )
    return int(found["vertices"]), tuple((int(edge[0]), int(edge[1])) for edge in found["edges"].split("_")[1:])
