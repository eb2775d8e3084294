"""Pictures of genotypes, drawn without any state outside the call.

A cell is laid out in columns from left to right. States have the numbers of genotype files: the inputs come first, so
the nodes of a cell with two inputs are 2, 3, ... Every operation is a box of its own in the column before its node,
and a line that passes a column takes a place in it like a box does, so nothing ever overlaps.
"""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_nas.genotype import CellGenotype, Genotype

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

__all__ = ("draw_genotype",)

SUFFIXES = (".png", ".svg")
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lit-nas",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
}
_ROW, _GAP, _MARGIN = 0.36, 0.5, 0.35  # inches
_WIDE, _NARROW = 0.86, 0.56  # inches: columns of operations, columns of states
_STATE, _INPUT = "#dbe4ee", "#f6e3c5"
_COLOURS = (  # first match wins: part of the operation name, fill
    ("sep_conv", "#cfe3f7"),
    ("dil_conv", "#ddd3f0"),
    ("conv", "#cfe3f7"),
    ("pool", "#d5ecd4"),
    ("skip", "#fbe0cf"),
)
_SWEEPS = 24

Place = tuple[Any, ...]
"""A vertex of the layout: ("state", state), ("edge", number), ("bend", line, column) or ("output",)."""


def draw_genotype(genotype: Genotype, path: str | Path) -> None:
    """Draws the cells of a genotype, one above the other.

    The same genotype gives the same bytes.

    Args:
        genotype: What is drawn.
        path: The file; its suffix, `.svg` or `.png`, decides the format.

    Raises:
        ValueError: if the suffix is another one.
    """
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"'{path}' cannot be drawn: the suffix must be one of {', '.join(SUFFIXES)}.")
    layouts = [_layout(cell) for cell in genotype.cells.values()]
    sizes = [_size(layout) for layout in layouts]
    width, heights = max(width for width, _ in sizes), [height for _, height in sizes]
    with matplotlib.rc_context(_SETTINGS):  # restores the settings of the caller
        figure = Figure(figsize=(width, sum(heights)), dpi=150)
        top = float(sum(heights))
        for (name, cell), layout, height in zip(genotype.cells.items(), layouts, heights, strict=True):
            top -= height
            axes = figure.add_axes((0, top / sum(heights), 1, height / sum(heights)))
            _draw(axes, cell, layout, (width, height))
            title = f"{genotype.name}, {name} cell" if genotype.name else f"{name} cell"
            axes.text(0.15, height - 0.12, title, ha="left", va="top", fontsize=11, fontweight="bold", color="#333333")
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
        figure.savefig(path, metadata=metadata, facecolor="white")


def _graph(cell: CellGenotype) -> "nx.DiGraph[Place]":
    """States, operations and the bends of lines, each with the column `x`; neighbours are one column apart."""
    import networkx as nx

    dag = nx.DiGraph((edge.source, edge.target) for edge in cell.edges)
    depth = dict.fromkeys(range(cell.inputs), 0)
    for state in nx.lexicographical_topological_sort(dag):
        if dag.in_degree(state):
            depth[state] = 1 + max(depth[source] for source in dag.predecessors(state))
    graph = nx.DiGraph()
    graph.add_nodes_from((("state", state), {"x": 2 * depth[state]}) for state in sorted(depth))
    for number, edge in enumerate(cell.edges):
        graph.add_node(("edge", number), x=2 * depth[edge.target] - 1)
        _connect(graph, ("state", edge.source), ("edge", number), number)
        graph.add_edge(("edge", number), ("state", edge.target), concat=False)
    graph.add_node(("output",), x=2 * max(depth.values()) + 1)
    for state in cell.concat:
        _connect(graph, ("state", state), ("output",), f"concat {state}")
    return graph


def _connect(graph: "nx.DiGraph[Place]", source: Place, target: Place, line: int | str) -> None:
    columns = range(graph.nodes[source]["x"] + 1, graph.nodes[target]["x"])
    graph.add_nodes_from((("bend", line, column), {"x": column}) for column in columns)
    for a, b in pairwise([source, *(("bend", line, column) for column in columns), target]):
        graph.add_edge(a, b, concat=target == ("output",))


def _layout(cell: CellGenotype) -> "nx.DiGraph[Place]":
    """The graph with a row `y` for each vertex: few crossings, short lines, no overlap."""
    graph = _graph(cell)
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
            for place, y in zip(places, _spread(wanted, [_room(p) for p in places]), strict=True):
                graph.nodes[place]["y"] = y
    return graph


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _room(place: Place) -> float:
    """Rows that a vertex takes up."""
    return {"state": 1.3, "edge": 1.0, "bend": 0.55, "output": 1.0}[place[0]]


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


def _columns(layout: "nx.DiGraph[Place]") -> list[tuple[float, float]]:
    """Left and right side of each column in inches; operations and states alternate, the output comes last."""
    last = layout.nodes[("output",)]["x"]
    sides, left = [], _MARGIN
    for column in range(last + 1):
        width = _WIDE if column % 2 and column != last else _NARROW
        sides.append((left, left + width))
        left += width + _GAP
    return sides


def _size(layout: "nx.DiGraph[Place]") -> tuple[float, float]:
    rows = [y for _, y in layout.nodes(data="y")]
    return _columns(layout)[-1][1] + _MARGIN, _ROW * (max(rows) - min(rows)) + 1.0


def _draw(axes: "Axes", cell: CellGenotype, layout: "nx.DiGraph[Place]", size: tuple[float, float]) -> None:
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]), xticks=[], yticks=[])
    axes.axis("off")
    columns, low = _columns(layout), max(y for _, y in layout.nodes(data="y"))
    # left side, right side, height above the bottom
    at = {p: (*columns[data["x"]], 0.35 + (low - data["y"]) * _ROW) for p, data in layout.nodes(data=True)}
    empty = {number for number, edge in enumerate(cell.edges) if edge.operation == "none"}
    for a, b, concat in layout.edges(data="concat"):
        faint = any(place[0] in ("edge", "bend") and place[1] in empty for place in (a, b))
        _line(axes, at[a], at[b], b[0] == "bend", concat, faint)
    for place, (left, right, y) in at.items():
        box = (left, right, y)
        if place[0] == "edge":
            operation = cell.edges[place[1]].operation
            fill = next((colour for part, colour in _COLOURS if part in operation), "#eeeeee")
            _box(axes, box, 0.125, operation, fill, 7.5)
        elif place[0] == "output":
            _box(axes, box, 0.17, "$c_k$", _INPUT, 10)
        elif place[0] == "state":
            state = place[1]  # numbered as in the files
            entry = state < cell.inputs
            text = f"{state}: $c_{{k{state - cell.inputs}}}$" if entry else str(state)
            _box(axes, box, 0.17, text, _INPUT if entry else _STATE, 9 if entry else 10)


def _line(
    axes: "Axes",
    a: tuple[float, float, float],
    b: tuple[float, float, float],
    passes: bool,
    concat: bool,
    faint: bool,
) -> None:
    """From the right side of a to the left side of b, and on to its right side if it only passes there."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    (_, x0, y0), (x1, x2, y1) = a, b
    points, codes = [(x0, y0), ((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)], [1, 4, 4, 4]
    if passes:
        points, codes = [*points, (x2, y1)], [*codes, 2]
    colour, dashes = ("#a8a8a8", (0, (3, 2))) if concat else ("#d5d9dc" if faint else "#5b6770", "solid")
    curve = Curve(points, codes)
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linestyle=dashes, linewidth=1.1, zorder=1))


def _box(axes: "Axes", at: tuple[float, float, float], half: float, text: str, fill: str, size: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, right, y = at
    style = f"round,pad=0,rounding_size={half * 0.6:.3f}"
    look: dict[str, Any] = {"facecolor": fill, "edgecolor": "#5b6770", "linewidth": 0.8, "zorder": 2}
    axes.add_patch(FancyBboxPatch((left, y - half), right - left, 2 * half, boxstyle=style, **look))
    axes.text((left + right) / 2, y, text, ha="center", va="center_baseline", fontsize=size, color="#222222", zorder=3)
