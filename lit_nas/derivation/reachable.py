"""A discrete cell of chosen operations, without the nodes that nothing reaches."""

from collections.abc import Mapping, Sequence

from lit_nas.derivation.deriver import EmptyCellError
from lit_nas.genotype import CellGenotype, Edge
from lit_nas.operations import original
from lit_nas.spaces import CellSpace

__all__ = ("reachable_cell",)


def reachable_cell(
    cell: CellSpace,
    rows: Sequence[Sequence[float]],
    chosen: Mapping[int, int],
    limit: int | None = None,
    keeps_empty: bool = False,
) -> CellGenotype:
    """The cell of at most one operation per edge, the strongest edges of each node first.

    A node without an edge leaves the output, and so do the edges that would read it, unless it is kept.

    Args:
        cell: The searched cell type.
        rows: Probabilities, [E][O].
        chosen: Edge -> column of its operation; edges that are not named have none.
        limit: How many edges a node keeps at most; None keeps all.
        keeps_empty: Whether a node without an edge gets one `none` from the first state, in a cell that has any edge.

    Raises:
        EmptyCellError: if no node of the output is reached.
    """
    reached = set(range(cell.num_inputs))
    edges: list[Edge] = []
    for node in cell.targets:  # edges point forward, so one pass is enough
        inbound = [
            edge for edge, (source, target) in enumerate(cell.edges)
            if target == node and edge in chosen and source in reached
        ]  # fmt: skip
        inbound.sort(key=lambda edge: -rows[edge][chosen[edge]])  # stable, and rows are sorted by predecessor
        edges += (Edge(original(cell.operations[chosen[edge]]), *cell.edges[edge]) for edge in inbound[:limit])
        if keeps_empty and chosen and not inbound:
            edges.append(Edge("none", 0, node))
        if inbound or (keeps_empty and chosen):
            reached.add(node)
    concat = tuple(node for node in cell.concat if node in reached)
    if not concat:
        raise EmptyCellError(
            f"Nothing is left of cell '{cell.name}': no operation that could be chosen leads from its inputs to its "
            "output."
        )
    return CellGenotype(tuple(edges), concat, cell.num_inputs)
