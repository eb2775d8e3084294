"""A derivation without a limit on edges: every edge keeps its best operation."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lit_nas.derivation.deriver import Deriver, candidate_columns, check_excluded, probability_rows
from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("ArgmaxPerEdge",)


@dataclass(frozen=True)
class ArgmaxPerEdge(Deriver):
    """Keeps the most probable operation of each edge; an edge whose best operation is `none` disappears.

    A node that loses all its edges takes no part in the output, and the edges that leave it disappear, too. Ties go
    to the lower operation index; the strongest edge of a node comes first. In a space whose genotypes hold all edges
    (`CellSpace.keeps_none`), nothing disappears and the edges keep their order.

    Raises:
        ValueError: if an excluded operation is unknown.
    """

    exclude: tuple[str, ...] = ()
    """Operations that are never chosen; with `none` all edges stay."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        check_excluded(self.exclude, "ArgmaxPerEdge")

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor]) -> Genotype:
        """Cell type -> [E, O] probabilities, to a genotype."""
        cells = {name: self._cell(cell, probability_rows(cell, probabilities)) for name, cell in space.cells.items()}
        return Genotype(cells, space.name)

    def _cell(self, cell: CellSpace, rows: list[list[float]]) -> CellGenotype:
        columns = candidate_columns(cell, self.exclude)
        best = [max(columns, key=row.__getitem__) for row in rows]  # the first of equals
        if cell.keeps_none:
            edges = (Edge(cell.operations[o], *edge) for o, edge in zip(best, cell.edges, strict=True))
            return CellGenotype(tuple(edges), cell.concat, cell.inputs)
        alive = set(range(cell.inputs))
        chosen: list[Edge] = []
        for node in cell.targets:  # edges point forward, so one pass is enough
            inbound = [edge for edge, (_, target) in enumerate(cell.edges) if target == node]
            inbound.sort(key=lambda edge: -rows[edge][best[edge]])
            edges = [Edge(cell.operations[best[edge]], *cell.edges[edge]) for edge in inbound]
            edges = [edge for edge in edges if edge.operation != "none" and edge.source in alive]
            chosen += edges
            alive |= {edge.target for edge in edges}
        concat = tuple(node for node in cell.targets if node in alive)
        if not concat:
            raise ValueError(
                f"Nothing is left of cell '{cell.name}': the best operation of every edge that could be reached is "
                "`none`. Search longer, or exclude it (model.deriver.exclude: [none])."
            )
        return CellGenotype(tuple(chosen), concat, cell.inputs)
