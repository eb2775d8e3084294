"""The edges that lead to each node of a cell."""

import torch
from torch import Tensor, nn

from lit_nas.relaxations import Active
from lit_nas.spaces import CellSpace

__all__ = ("InboundEdges",)


class InboundEdges(nn.Module):
    """Edges by node, N nodes with at most M edges each: rows and columns for a relaxation that weighs edges.

    Args:
        cell: Its DAG.
    """

    edges: Tensor
    """[N, M]: numbers of the edges; where a node has fewer, 0."""
    exists: Tensor
    """bool [N, M]: whether there is such an edge."""
    places: Tensor
    """[E]: where each edge is in [N * M]."""

    def __init__(self, cell: CellSpace) -> None:
        super().__init__()
        self.by_node = tuple(
            tuple(edge for edge, (_, target) in enumerate(cell.edges) if target == node) for node in cell.targets
        )
        width = max(map(len, self.by_node))
        edges = torch.zeros(len(self.by_node), width, dtype=torch.int64)
        exists, places = torch.zeros_like(edges, dtype=torch.bool), torch.zeros(len(cell.edges), dtype=torch.int64)
        for node, inbound in enumerate(self.by_node):
            for column, edge in enumerate(inbound):
                edges[node, column], exists[node, column], places[edge] = edge, True, node * width + column
        for name, buffer in (("edges", edges), ("exists", exists), ("places", places)):
            self.register_buffer(name, buffer, persistent=False)  # they follow from the space

    def spread(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Values [E] and candidates, bool [E, O] -> values [N, M], and whether an edge has a candidate, bool [N, M]."""
        return values[self.edges], self.exists & mask.any(-1)[self.edges]

    def rivals(self, mask: Tensor) -> Tensor:
        """Candidates, bool [E, O] -> int64 [E]: how many edges with a candidate lead to the node of an edge."""
        _, has_candidate = self.spread(self.places, mask)
        return self.gather(has_candidate.sum(-1, keepdim=True).expand_as(has_candidate))

    def gather(self, values: Tensor) -> Tensor:
        """[N, M] -> [E]."""
        return values.flatten()[self.places]

    def executed(self, active: Active) -> set[int]:
        """Numbers of the edges that the columns of each node stand for."""
        return {inbound[column] for inbound, columns in zip(self.by_node, active, strict=True) for column in columns}
