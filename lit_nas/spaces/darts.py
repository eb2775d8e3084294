"""The search space of DARTS.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, section 3.1 and appendix A.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from lit_nas.spaces.candidates import Rows, candidates_by_cell
from lit_nas.spaces.operator_groups import named_operations
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace

__all__ = ("DARTS_OPERATIONS", "DartsSpace", "reduction_places")

DARTS_OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""The eight candidates in the paper's order, which is the order of the columns of alpha."""


MOST_NODES = 20
"""Number of nodes beyond which it is taken for a slip: each node sees all earlier ones, so edges grow by the square."""


def reduction_places(num_cells: int) -> tuple[int, ...]:
    """Indices of the reduction cells of a network: at one and two thirds of its depth."""
    return tuple(sorted({num_cells // 3, 2 * num_cells // 3}))


@dataclass(frozen=True)
class DartsSpace(SearchSpace):
    """Normal and reduction cells with two inputs; every node sees all earlier states.

    With the defaults alpha has 14 rows (edges) and 8 columns (operations) for each of the two cell types, and the
    search network 1,930,618 weights for 10 classes.

    Raises:
        ValueError: if a number is too small or too large, an operation is unknown, or candidates do not fit the cells.
    """

    name = "darts"
    genotype_cells = ("normal", "reduce")
    edges_per_node = 2

    init_channels: int = 16
    """C of the first cell; it doubles at each reduction."""
    num_cells: int = 8
    """Depth of the search network in cells; with fewer than three there would be no normal cell."""
    nodes: int = 4
    """Intermediate nodes of a cell; all of them are concatenated."""
    operations: tuple[str, ...] | str = DARTS_OPERATIONS
    """Candidate names; any subset or extension of the known operations. `S1` to `S5` stand for all operators of these
    spaces of StacNAS."""
    stem_multiplier: int = 3
    """The stem makes `stem_multiplier * init_channels` channels."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """What stands before the cells: one convolution, or three that halve the size of large images three times."""
    candidates: Mapping[str, Sequence[Sequence[str]]] | str | Path | None = field(default=None, hash=False)
    """Cell type -> for each edge the candidates that it has, out of `operations`; only these are built. None, or a cell
    type that is left out, means all operations on all edges. The path of a `candidates.json`, which a search leaves,
    stands for what the file holds."""

    def __post_init__(self) -> None:
        for name, least in (("init_channels", 1), ("num_cells", 3), ("nodes", 1), ("stem_multiplier", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"space.{name} must be at least {least}, not {getattr(self, name)}.")
        if self.stem not in ("cifar", "imagenet"):
            raise ValueError(f"space.stem must be cifar or imagenet, not {self.stem!r}.")
        for name, most in (("num_cells", MOST_CELLS), ("nodes", MOST_NODES)):
            if getattr(self, name) > most:
                raise ValueError(f"space.{name} must be at most {most}, not {getattr(self, name)}.")
        if self.init_channels % 2:
            raise ValueError(f"space.init_channels must be even (factorised reduction), not {self.init_channels}.")
        operations = named_operations(self.operations) if isinstance(self.operations, str) else tuple(self.operations)
        object.__setattr__(self, "operations", operations)  # lists come from YAML
        if self.candidates is not None:
            edges = {"normal": self._edges, "reduce": self._edges}
            object.__setattr__(
                self, "candidates", candidates_by_cell(self.candidates, self.name, edges, self.operations)
            )
        _ = self.cells  # validates operations and candidates

    @property
    def _edges(self) -> tuple[tuple[int, int], ...]:
        return tuple((source, target) for target in range(2, 2 + self.nodes) for source in range(target))

    @property
    def cells(self) -> dict[str, CellSpace]:
        """The types `normal` and `reduce`, over the same DAG."""
        edges, own, operations = self._edges, cast(Rows, self.candidates or {}), cast(tuple[str, ...], self.operations)
        return {
            name: CellSpace(name, operations, edges, reduction=name == "reduce", candidates=own.get(name, ()))
            for name in ("normal", "reduce")
        }

    @property
    def layout(self) -> tuple[Position, ...]:
        """`num_cells` cells, with reductions at one and two thirds."""
        reductions, channels, positions = reduction_places(self.num_cells), self.init_channels, []
        for index in range(self.num_cells):
            if index in reductions:
                channels *= 2
            positions.append(Position("reduce" if index in reductions else "normal", channels))
        return tuple(positions)
