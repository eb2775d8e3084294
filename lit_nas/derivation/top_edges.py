"""The derivation of DARTS: a fixed number of edges for each node.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, section 2.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lit_nas.derivation.deriver import Deriver, candidate_columns, check_excluded, probability_rows
from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("TopEdges",)


@dataclass(frozen=True)
class TopEdges(Deriver):
    """Keeps the strongest edges of each node, and on each the strongest operation.

    The strength of an edge is the probability of its best operation. Ties go to the lower predecessor and to the
    lower operation index. All nodes are concatenated.

    Raises:
        ValueError: if `k` is below 1 or an excluded operation is unknown.
    """

    k: int = 2
    """Edges of a node; a node with fewer predecessors keeps all."""
    exclude: tuple[str, ...] = ("none",)
    """Operations that are never chosen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        if self.k < 1:
            raise ValueError(f"TopEdges.k (model.deriver.k) must be at least 1, not {self.k}.")
        check_excluded(self.exclude, "TopEdges")

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor]) -> Genotype:
        """Cell type -> [E, O] probabilities, to a genotype."""
        cells = {name: self._cell(cell, probability_rows(cell, probabilities)) for name, cell in space.cells.items()}
        return Genotype(cells, space.name)

    def _cell(self, cell: CellSpace, rows: list[list[float]]) -> CellGenotype:
        columns = candidate_columns(cell, self.exclude)
        best = [max(columns, key=row.__getitem__) for row in rows]  # the first of equals
        chosen: list[Edge] = []
        for node in cell.targets:
            inbound = [edge for edge, (_, target) in enumerate(cell.edges) if target == node]
            inbound.sort(key=lambda edge: -rows[edge][best[edge]])  # stable, and rows are sorted by predecessor
            chosen += (Edge(cell.operations[best[edge]], *cell.edges[edge]) for edge in inbound[: self.k])
        return CellGenotype(tuple(chosen), cell.targets, cell.inputs)
