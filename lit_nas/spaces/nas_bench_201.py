"""The search space of NAS-Bench-201.

Paper: Dong, Yang, ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from lit_nas.operations import OperationStyle
from lit_nas.spaces.candidates import Rows, candidates_by_cell
from lit_nas.spaces.nas_bench_201_strings import CELL_EDGES, CELL_OPERATIONS
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("NasBench201Space",)

# as a type, so that a configuration that changes the class of the space does not bring the operations of the old one
Operation = Literal["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


@dataclass(frozen=True)
class NasBench201Space(SearchSpace):
    """One cell of four states, whose last one is the output; every pair of states has an edge.

    With the defaults alpha has 6 rows (edges) and 5 columns (operations), shared by all cells, and the search network
    1,692,826 weights for 10 classes.

    Raises:
        ValueError: if a number does not fit, an operation is not of this space, or the candidates do not fit the cell.
    """

    name = "nas_bench_201"
    genotype_cells = ("normal",)

    init_channels: int = 16
    """C of the first stage; it doubles twice."""
    cells_per_stage: int = 5
    """Cells of each of the three stages, N; fixed residual blocks stand between the stages."""
    operations: tuple[Operation, ...] = CELL_OPERATIONS
    """Candidate names; any of the five."""
    track_running_stats: bool = False
    """Whether BatchNorm within the candidates keeps running statistics; without, it always normalises by the batch."""
    candidates: Mapping[str, Sequence[Sequence[Operation]]] | str | Path | None = field(default=None, hash=False)
    """Cell type -> for each edge the candidates that it has, out of `operations`; only these are built. None, or a cell
    type that is left out, means all operations on all edges. The path of a `candidates.json`, which a search leaves,
    stands for what the file holds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))  # lists come from YAML
        for name in ("init_channels", "cells_per_stage"):
            if getattr(self, name) < 1:
                raise ValueError(f"space.{name} must be at least 1, not {getattr(self, name)}.")
        if 3 * self.cells_per_stage > MOST_CELLS:
            raise ValueError(f"space.cells_per_stage must be at most {MOST_CELLS // 3}, not {self.cells_per_stage}.")
        if self.candidates is not None:
            edges = {"normal": CELL_EDGES}
            object.__setattr__(
                self, "candidates", candidates_by_cell(self.candidates, self.name, edges, self.operations)
            )
        _ = self.cells  # validates operations and candidates
        if foreign := sorted(set(self.operations) - set(CELL_OPERATIONS)):
            raise ValueError(
                f"space.operations names {foreign}, which NAS-Bench-201 does not have. Known are: "
                f"{', '.join(CELL_OPERATIONS)}."
            )

    @property
    def style(self) -> OperationStyle:
        """No affine BatchNorm, a bias instead; pooling is plain."""
        return OperationStyle(
            affine=False, pool_norm=False, conv_bias=True, track_running_stats=self.track_running_stats
        )

    @property
    def cells(self) -> dict[str, CellSpace]:
        """The only type, `normal`."""
        own = cast(Rows, self.candidates or {}).get("normal", ())
        cell = CellSpace("normal", self.operations, CELL_EDGES, 1, outputs=(3,), keeps_none=True, candidates=own)
        return {"normal": cell}

    @property
    def layout(self) -> tuple[Position, ...]:
        """Three stages of `cells_per_stage` cells; channels double from stage to stage."""
        widths = (self.init_channels * 2**stage for stage in range(3))
        return tuple(Position("normal", width) for width in widths for _ in range(self.cells_per_stage))

    @classmethod
    def check_genotype(cls, cells: Mapping[str, "CellGenotype"]) -> None:
        """Refuses cells that are not among the 15,625.

        Args:
            cells: By type.

        Raises:
            ValueError: if there is not one cell `normal` with the six edges and operations of the space.
        """
        super().check_genotype(cells)
        cell = cells["normal"]
        edges = sorted((edge.source, edge.target) for edge in cell.edges)
        if list(cells) != ["normal"] or cell.inputs != 1 or edges != sorted(CELL_EDGES) or cell.concat != (3,):
            raise ValueError(
                f"A genotype of the space '{cls.name}' has one cell 'normal' with 1 input, the edges "
                f"{sorted(CELL_EDGES)} (`none` where nothing is connected) and concat [3], but this one has "
                f"{list(cells)}, {cell.inputs} input(s), {edges} and {list(cell.concat)}."
            )
        if foreign := sorted({edge.operation for edge in cell.edges} - set(CELL_OPERATIONS)):
            raise ValueError(
                f"cells.normal.nodes names {foreign}, which NAS-Bench-201 does not have. Known are: "
                f"{', '.join(CELL_OPERATIONS)}."
            )
