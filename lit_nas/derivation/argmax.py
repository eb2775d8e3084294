"""A derivation without a limit on edges: every edge keeps its best operation."""

from dataclasses import dataclass

from lit_nas.derivation.deriver import CellwiseDeriver, best_of_each, check_excluded
from lit_nas.derivation.reachable import reachable_cell
from lit_nas.genotype import CellGenotype, Edge
from lit_nas.operations import original
from lit_nas.spaces import CellSpace

__all__ = ("ArgmaxPerEdge",)


@dataclass(frozen=True)
class ArgmaxPerEdge(CellwiseDeriver):
    """Keeps the most probable operation of each edge; an edge whose best operation is `none` disappears.

    So does an edge of which every candidate has been pruned. A node that loses all its edges takes no part in the
    output, and the edges that leave it disappear, too. Ties go to the lower operation index; the strongest edge of a
    node comes first. In a space whose genotypes hold all edges (`CellSpace.keeps_none`), edges keep their order and
    one without a candidate becomes `none`.

    Raises:
        ValueError: if an excluded operation is unknown.
    """

    exclude: tuple[str, ...] = ()
    """Operations that are never chosen; with `none` all edges stay."""
    keeps_empty_nodes: bool = False
    """Whether a node that loses all its edges stays in the output as zeros, so that cells keep their channels, as in
    the code of SNAS: the genotype then has one edge `none` that leads to it. Otherwise it leaves the output."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        check_excluded(self.exclude, "ArgmaxPerEdge")

    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        best = best_of_each(rows, allowed)
        if cell.keeps_none:
            names = (cell.operations[best[edge]] if edge in best else "none" for edge in range(len(cell.edges)))
            edges = (Edge(original(name), *edge) for name, edge in zip(names, cell.edges, strict=True))
            return CellGenotype(tuple(edges), cell.concat, cell.num_inputs)
        connected = {edge: column for edge, column in best.items() if cell.operations[column] != "none"}
        return reachable_cell(cell, rows, connected, keeps_empty=self.keeps_empty_nodes)
