"""The derivation of GDAS: a fixed number of operations for each node, wherever they are.

Code: D-X-Y/AutoDL-Projects, `genotype` of `search_model_gdas_nasnet.py`.
"""

from dataclasses import dataclass

from lit_nas.derivation.deriver import CellwiseDeriver, best_of_each, check_excluded
from lit_nas.derivation.reachable import reachable_cell
from lit_nas.genotype import CellGenotype
from lit_nas.spaces import CellSpace

__all__ = ("TopPairs",)


@dataclass(frozen=True)
class TopPairs(CellwiseDeriver):
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

    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        pairs = [(edge, column) for edge, columns in enumerate(allowed) for column in columns]
        if self.distinct_edges:
            pairs = list(best_of_each(rows, allowed).items())
        return reachable_cell(cell, rows, pairs, limit=self.k)
