"""Where the parts of a picture stand: columns from left to right, and rows in which nothing overlaps."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx as nx

__all__ = ("Place", "arrange", "connect", "room")

_SWEEPS = 24


Place = tuple[Any, ...]
"""A vertex of a layout: ("input",), ("state", state), ("edge", number), ("bend", line, column) or ("output",)."""


def arrange(graph: "nx.DiGraph[Place]") -> "nx.DiGraph[Place]":
    """The graph with a row `y` for each place: few crossings, short lines, no overlap.

    Args:
        graph: Places with their columns `x`, the output in the last one; neighbours are one column apart.
    """
    columns: list[list[Place]] = [[] for _ in range(graph.nodes[("output",)]["x"] + 1)]
    for place, column in graph.nodes(data="x"):
        columns[column].append(place)
    best, fewest = columns, _crossings(graph, columns)
    for sweep in range(_SWEEPS):  # alternately after the neighbours to the left and to the right
        forward = sweep % 2 == 0
        near = graph.predecessors if forward else graph.successors
        for places in columns if forward else columns[::-1]:
            rank = {place: row for column in columns for row, place in enumerate(column)}
            places.sort(key=lambda place: _mean([rank[other] for other in near(place)], rank[place]))
        if (crossings := _crossings(graph, columns)) < fewest:
            best, fewest = [list(places) for places in columns], crossings
    for places in best:
        for row, place in enumerate(places):
            graph.nodes[place]["y"] = float(row)
    for sweep in range(_SWEEPS):
        near = (graph.predecessors, graph.successors, graph.to_undirected(as_view=True).neighbors)[sweep % 3]
        for places in best:
            wanted = [_mean([graph.nodes[o]["y"] for o in near(p)], graph.nodes[p]["y"]) for p in places]
            for place, y in zip(places, _spread(wanted, [room(p) for p in places]), strict=True):
                graph.nodes[place]["y"] = y
    return graph


def connect(graph: "nx.DiGraph[Place]", source: Place, target: Place, line: int | str, concat: bool = False) -> None:
    """Adds a line with a bend in each column that it passes.

    Args:
        graph: What is changed.
        source: Where it begins.
        target: Where it ends, in a later column.
        line: What tells its bends from those of others.
        concat: Whether it is drawn as one that changes nothing.
    """
    columns = range(graph.nodes[source]["x"] + 1, graph.nodes[target]["x"])
    graph.add_nodes_from((("bend", line, column), {"x": column}) for column in columns)
    for a, b in pairwise([source, *(("bend", line, column) for column in columns), target]):
        graph.add_edge(a, b, concat=concat)


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def room(place: Place) -> float:
    """Rows that a place takes up."""
    return {"input": 1.3, "state": 1.3, "edge": 1.0, "bend": 0.55, "output": 1.0}[place[0]]


def _crossings(graph: "nx.DiGraph[Place]", columns: list[list[Place]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        rank = {place: row for row, place in enumerate(right)}
        ends = [rank[end] for place in left for end in sorted(graph.successors(place), key=rank.__getitem__)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _spread(wanted: list[float], rooms: list[float]) -> list[float]:
    """The rows nearest to the wanted ones that keep the order and leave everyone room (isotonic regression)."""
    offsets = [0.0]
    for a, b in pairwise(rooms):
        offsets.append(offsets[-1] + (a + b) / 2)
    blocks: list[list[float]] = []  # [mean, number]
    for want, offset in zip(wanted, offsets, strict=True):
        blocks.append([want - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (mean_a, number_a), (mean_b, number_b) = blocks[-2:]
            number = number_a + number_b
            blocks[-2:] = [[(mean_a * number_a + mean_b * number_b) / number, number]]
    means = [mean for mean, number in blocks for _ in range(int(number))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
