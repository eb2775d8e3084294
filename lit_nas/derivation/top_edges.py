"""The derivation of DARTS: a fixed number of edges for each node.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, section 2.4.
"""

from dataclasses import dataclass
from typing import Literal

from lit_nas.derivation.deriver import CellwiseDeriver, best_of_each, check_excluded
from lit_nas.derivation.reachable import reachable_cell
from lit_nas.genotype import CellGenotype
from lit_nas.operations import original
from lit_nas.spaces import CellSpace

__all__ = ("TopEdges",)


@dataclass(frozen=True)
class TopEdges(CellwiseDeriver):
    """Keeps the strongest edges of each node, and on each the strongest operation.

    The strength of an edge is the probability of its best operation, or its parameter. Ties go to the lower predecessor
    and to the lower operation index. All nodes are concatenated, except for those that pruning has left without an
    edge.

    Raises:
        ValueError: if `k` is below 1, an excluded operation is unknown, `by` is, or parameters should be added up.
    """

    k: int = 2
    """Edges of a node; a node with fewer predecessors keeps all."""
    exclude: tuple[str, ...] = ("none",)
    """Operations that are never chosen."""
    by: Literal["probability", "logit"] = "probability"
    """What edges are compared by. Parameters (`logit`, as in the code of DropNAS) choose the same operation of an edge,
    but rank edges without regard to what else competes on each of them."""
    sums_copies: bool = False
    """Whether copies of an operation (`skip_connect_2`) count as one, with the sum of their probabilities: they share
    what one of them alone would have."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        if self.k < 1:
            raise ValueError(f"TopEdges.k (model.deriver.k) must be at least 1, not {self.k}.")
        check_excluded(self.exclude, "TopEdges")
        if self.by not in ("probability", "logit"):
            raise ValueError(f"TopEdges.by (model.deriver.by) must be probability or logit, not {self.by!r}.")
        if self.sums_copies and self.by == "logit":
            raise ValueError(
                "TopEdges.sums_copies (model.deriver.sums_copies) adds probabilities up: set TopEdges.by "
                "(model.deriver.by) to probability, or leave sums_copies out."
            )

    @property
    def compares(self) -> Literal["importance", "logits"]:
        """See `Deriver`."""
        return "logits" if self.by == "logit" else "importance"

    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        if self.sums_copies:
            rows = _summed(cell, rows)
        return reachable_cell(cell, rows, best_of_each(rows, allowed), limit=self.k)


def _summed(cell: CellSpace, rows: list[list[float]]) -> list[list[float]]:
    """Each probability with those of all copies of its operation, [E][O]."""
    names = [original(name) for name in cell.operations]
    return [[sum(p for p, name in zip(row, names, strict=True) if name == own) for own in names] for row in rows]
