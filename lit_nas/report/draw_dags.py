"""Pictures of cells that are DAGs of convolutions: vertices with the numbers of the name, a line for each convolution.

Lines from the input to the sources, which have no convolution, are dashed.
"""

from typing import TYPE_CHECKING

from lit_nas.dags import PREFIX, Dag, parse_dag
from lit_nas.genotype import CellGenotype
from lit_nas.report.layered import Place, arrange, connect
from lit_nas.report.shapes import GAP, INPUT, MARGIN, NARROW, ROW, STATE, box, line

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

__all__ = ("dag_layout", "dag_of", "dag_size", "draw_dag")


def dag_of(cell: CellGenotype) -> Dag | None:
    """The DAG that a cell consists of; None if it is another cell.

    Args:
        cell: Of a genotype.
    """
    name = cell.edges[0].operation
    return parse_dag(name) if len(cell.edges) == 1 and name.startswith(PREFIX) else None


def dag_layout(dag: Dag) -> "nx.DiGraph[Place]":
    """Input, vertices, the bends of lines and the output, with columns `x` and rows `y`.

    Args:
        dag: What is drawn.
    """
    import networkx as nx

    depths: list[int] = []
    for sources in dag.predecessors:  # in topological order
        depths.append(1 + max((depths[source] for source in sources), default=0))
    graph = nx.DiGraph()
    graph.add_node(("input",), x=0)
    graph.add_nodes_from((("state", vertex), {"x": depth}) for vertex, depth in enumerate(depths))
    graph.add_node(("output",), x=1 + max(depths))
    for vertex, sources in enumerate(dag.predecessors):
        if not sources:
            connect(graph, ("input",), ("state", vertex), f"in {vertex}", concat=True)
    for number, (source, target) in enumerate(dag.edges):
        connect(graph, ("state", source), ("state", target), number)
    for sink in dag.sinks:
        connect(graph, ("state", sink), ("output",), f"out {sink}")
    return arrange(graph)


def dag_size(layout: "nx.DiGraph[Place]") -> tuple[float, float]:
    """Width and height in inches.

    Args:
        layout: Of `dag_layout`.
    """
    rows = [y for _, y in layout.nodes(data="y")]
    columns = layout.nodes[("output",)]["x"] + 1
    return 2 * MARGIN + columns * NARROW + (columns - 1) * GAP, ROW * (max(rows) - min(rows)) + 1.0


def draw_dag(axes: "Axes", layout: "nx.DiGraph[Place]", size: tuple[float, float]) -> None:
    """Draws a DAG.

    Args:
        axes: What is drawn on.
        layout: Of `dag_layout`.
        size: Of the axes, in inches.
    """
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]), xticks=[], yticks=[])
    axes.axis("off")
    low, at = max(y for _, y in layout.nodes(data="y")), {}
    for place, data in layout.nodes(data=True):
        left = MARGIN + data["x"] * (NARROW + GAP)
        at[place] = left, left + NARROW, 0.35 + (low - data["y"]) * ROW
    for a, b, plain in layout.edges(data="concat"):
        line(axes, at[a], at[b], b[0] == "bend", plain, False)
    for place, where in at.items():
        if place[0] == "state":
            box(axes, where, 0.17, str(place[1]), STATE, 10)
        elif place[0] != "bend":
            box(axes, where, 0.17, "in" if place[0] == "input" else "out", INPUT, 9)
