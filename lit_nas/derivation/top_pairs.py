"""The derivation of GDAS: a fixed number of operations for each node, wherever they are.

Code: D-X-Y/AutoDL-Projects, `genotype` of `search_model_gdas_nasnet.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lit_nas.derivation.deriver import Deriver, Masks, check_excluded, choices, probability_rows
from lit_nas.derivation.reachable import reachable_cell
from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("TopPairs",)


@dataclass(frozen=True)
class TopPairs(Deriver):
    """Keeps the most probable pairs of an edge and an operation of each node.

    Two of them may be on the same edge, as parallel operations. Ties go to the lower predecessor and to the lower
    operation index. All nodes are concatenated, except for those that pruning has left without a pair.

    Raises:
        ValueError: if `k` is below 1 or an excluded operation is unknown.
    """

    k: int = 2
    """Pairs of a node; a node with fewer keeps all."""
    exclude: tuple[str, ...] = ("none",)
    """Operations that are never chosen."""
    distinct_edges: bool = False
    """Whether an edge has one operation at most, as in DARTS."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        if self.k < 1:
            raise ValueError(f"TopPairs.k (model.deriver.k) must be at least 1, not {self.k}.")
        check_excluded(self.exclude, "TopPairs")

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor], masks: Masks | None = None) -> Genotype:
        """See `Deriver`."""
        cells = {
            name: self._cell(cell, probability_rows(cell, probabilities), choices(cell, self.exclude, masks))
            for name, cell in space.cells.items()
        }
        return Genotype(cells, space.name)

    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        pairs = [(edge, column) for edge, columns in enumerate(allowed) for column in columns]
        if self.distinct_edges:  # the first of equals
            best = {edge: max(columns, key=rows[edge].__getitem__) for edge, columns in enumerate(allowed) if columns}
            pairs = list(best.items())
        return reachable_cell(cell, rows, pairs, limit=self.k)
