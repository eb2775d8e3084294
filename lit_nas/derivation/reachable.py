"""A discrete cell of chosen operations, without the nodes that nothing reaches."""

from collections.abc import Mapping, Sequence

from lit_nas.derivation.deriver import EmptyCellError
from lit_nas.genotype import CellGenotype, Edge
from lit_nas.spaces import CellSpace

__all__ = ("reachable_cell",)


def reachable_cell(
    cell: CellSpace,
    rows: Sequence[Sequence[float]],
    chosen: Mapping[int, int | Sequence[int]],
    limit: int | None = None,
    keeps_empty: bool = False,
) -> CellGenotype:
    """The cell of some operations of some edges, the strongest of each node first.

    A node without an edge leaves the output, and so do the edges that would read it, unless it is kept.

    Args:
        cell: The searched cell type.
        rows: Probabilities, [E][O].
        chosen: Edge -> column of its operation, or those of several; edges that are not named have none.
        limit: How many operations a node keeps at most; None keeps all.
        keeps_empty: Whether a node without an edge gets one `none` from the first state, in a cell that has any edge.

    Raises:
        EmptyCellError: if no node of the output is reached.
    """
    reached = set(range(cell.num_inputs))
    edges: list[Edge] = []
    for node in cell.targets:  # edges point forward, so one pass is enough
        inbound = [
            (edge, column) for edge, (source, target) in enumerate(cell.edges)
            if target == node and edge in chosen and source in reached
            for column in _columns(chosen[edge])
        ]  # fmt: skip
        inbound.sort(key=lambda pair: -rows[pair[0]][pair[1]])  # stable, and rows are sorted by predecessor
        edges += (Edge(cell.operations[column], *cell.edges[edge]) for edge, column in inbound[:limit])
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


def _columns(chosen: int | Sequence[int]) -> Sequence[int]:
    return (chosen,) if isinstance(chosen, int) else chosen
