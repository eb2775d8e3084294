"""Pictures of genotypes, drawn without any state outside the call.

A cell is laid out in columns from left to right. States have the numbers of genotype files: the inputs come first, so
the nodes of a cell with two inputs are 2, 3, ... Every operation is a box of its own in the column before its node,
and a line that passes a column takes a place in it like a box does, so nothing ever overlaps. A cell that is a DAG of
convolutions is drawn as that DAG. The output of a recurrent cell is the mean of its nodes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.report.draw_dags import dag_layout, dag_of, dag_size, draw_dag
from lit_nas.report.layered import Place, arrange, connect
from lit_nas.report.shapes import GAP, INPUT, MARGIN, NARROW, ROW, STATE, WIDE, box, line
from lit_nas.spaces import RecurrentSpace

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
_COLOURS = (  # first match wins: part of the operation name, fill
    ("sep_conv", "#cfe3f7"),
    ("dil_conv", "#ddd3f0"),
    ("conv", "#cfe3f7"),
    ("pool", "#d5ecd4"),
    ("skip", "#fbe0cf"),
    ("tanh", "#cfe3f7"),
    ("relu", "#d5ecd4"),
    ("sigmoid", "#ddd3f0"),
    ("identity", "#fbe0cf"),
)


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
    dags = {name: dag for name, cell in genotype.cells.items() if (dag := dag_of(cell)) is not None}
    layouts = {name: dag_layout(dags[name]) if name in dags else _layout(cell) for name, cell in genotype.cells.items()}
    sizes = [dag_size(layout) if name in dags else _size(layout) for name, layout in layouts.items()]
    width, heights = max(width for width, _ in sizes), [height for _, height in sizes]
    with matplotlib.rc_context(_SETTINGS):  # restores the settings of the caller
        figure = Figure(figsize=(width, sum(heights)), dpi=150)
        top = float(sum(heights))
        for (name, layout), height in zip(layouts.items(), heights, strict=True):
            top -= height
            axes = figure.add_axes((0, top / sum(heights), 1, height / sum(heights)))
            if name in dags:
                draw_dag(axes, layout, (width, height))
            else:
                _draw(axes, genotype.cells[name], layout, (width, height), genotype.space == RecurrentSpace.name)
            title = f"{name} cell: {dags[name].name}" if name in dags else f"{name} cell"
            title = f"{genotype.name}, {title}" if genotype.name else title
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
        connect(graph, ("state", edge.source), ("edge", number), number)
        graph.add_edge(("edge", number), ("state", edge.target), concat=False)
    graph.add_node(("output",), x=2 * max(depth.values()) + 1)
    for state in cell.concat:
        connect(graph, ("state", state), ("output",), f"concat {state}", concat=True)
    return graph


def _layout(cell: CellGenotype) -> "nx.DiGraph[Place]":
    return arrange(_graph(cell))


def _columns(layout: "nx.DiGraph[Place]") -> list[tuple[float, float]]:
    """Left and right side of each column in inches; operations and states alternate, the output comes last."""
    last = layout.nodes[("output",)]["x"]
    sides, left = [], MARGIN
    for column in range(last + 1):
        width = WIDE if column % 2 and column != last else NARROW
        sides.append((left, left + width))
        left += width + GAP
    return sides


def _size(layout: "nx.DiGraph[Place]") -> tuple[float, float]:
    rows = [y for _, y in layout.nodes(data="y")]
    return _columns(layout)[-1][1] + MARGIN, ROW * (max(rows) - min(rows)) + 1.0


def _draw(
    axes: "Axes", cell: CellGenotype, layout: "nx.DiGraph[Place]", size: tuple[float, float], recurrent: bool
) -> None:
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]), xticks=[], yticks=[])
    axes.axis("off")
    columns, low = _columns(layout), max(y for _, y in layout.nodes(data="y"))
    # left side, right side, height above the bottom
    at = {p: (*columns[data["x"]], 0.35 + (low - data["y"]) * ROW) for p, data in layout.nodes(data=True)}
    empty = {number for number, edge in enumerate(cell.edges) if edge.operation == "none"}
    for a, b, concat in layout.edges(data="concat"):
        faint = any(place[0] in ("edge", "bend") and place[1] in empty for place in (a, b))
        line(axes, at[a], at[b], b[0] == "bend", concat, faint)
    for place, where in at.items():
        if place[0] == "edge":
            operation = cell.edges[place[1]].operation
            fill = next((colour for part, colour in _COLOURS if part in operation), "#eeeeee")
            box(axes, where, 0.125, operation, fill, 7.5)
        elif place[0] == "output":
            box(axes, where, 0.17, "$h_t$" if recurrent else "$c_k$", INPUT, 10)
        elif place[0] == "state":
            state = place[1]  # numbered as in the files
            entry = state < cell.inputs
            text = f"{state}: $c_{{k{state - cell.inputs}}}$" if entry else str(state)
            if entry and recurrent:
                text = "0: $x_t,h_{t-1}$"
            letters = (7 if recurrent else 9) if entry else 10
            box(axes, where, 0.17, text, INPUT if entry else STATE, letters)
