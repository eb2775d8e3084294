"""The search space of NAS-Bench-201.

Paper: Dong, Yang, ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.1.
"""

from dataclasses import dataclass

from lit_nas.nas_bench_201 import CELL_EDGES, CELL_OPERATIONS
from lit_nas.operations import OperationStyle
from lit_nas.spaces.space import CellSpace, Position, SearchSpace

__all__ = ("NasBench201Space",)


@dataclass(frozen=True)
class NasBench201Space(SearchSpace):
    """One cell of four states, whose last one is the output; every pair of states has an edge.

    With the defaults alpha has 6 rows (edges) and 5 columns (operations), shared by all cells, and the search network
    1,692,826 weights for 10 classes.

    Raises:
        ValueError: if a number does not fit or an operation is not of this space.
    """

    init_channels: int = 16
    """C of the first stage; it doubles twice."""
    num_cells: int = 15
    """Searched cells, a third of them in each stage; two fixed residual blocks stand between the stages."""
    operations: tuple[str, ...] = CELL_OPERATIONS
    """Candidate names; any of the five."""
    track_running_stats: bool = False
    """Whether BatchNorm within the candidates keeps running statistics; without, it always normalises by the batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))  # lists come from YAML
        if self.init_channels < 1:
            raise ValueError(f"space.init_channels must be at least 1, not {self.init_channels}.")
        if self.num_cells < 3 or self.num_cells % 3:
            raise ValueError(
                f"space.num_cells must be a positive multiple of 3 (three equal stages), not {self.num_cells}."
            )
        _ = self.cells  # validates the operations
        if foreign := sorted(set(self.operations) - set(CELL_OPERATIONS)):
            raise ValueError(
                f"space.operations names {foreign}, which NAS-Bench-201 does not have. Known are: "
                f"{', '.join(CELL_OPERATIONS)}."
            )

    @property
    def name(self) -> str:
        """`nas_bench_201`."""
        return "nas_bench_201"

    @property
    def style(self) -> OperationStyle:
        """No affine BatchNorm, a bias instead; pooling is plain."""
        return OperationStyle(
            affine=False, pool_norm=False, conv_bias=True, track_running_stats=self.track_running_stats
        )

    @property
    def cells(self) -> dict[str, CellSpace]:
        """The only type, `normal`."""
        return {"normal": CellSpace("normal", self.operations, CELL_EDGES, inputs=1, outputs=(3,), keeps_none=True)}

    @property
    def layout(self) -> tuple[Position, ...]:
        """`num_cells` cells; channels double after each third."""
        stage = self.num_cells // 3
        return tuple(Position("normal", self.init_channels * 2 ** (index // stage)) for index in range(self.num_cells))
