"""The search space of GDAS: that of NASNet, with a reduction cell that is searched or fixed.

Paper: Dong, Yang, CVPR 2019, https://arxiv.org/abs/1910.04465, section 4.1. Code: D-X-Y/AutoDL-Projects,
`search_model_gdas_nasnet.py` and `search_model_gdas_frc_nasnet.py`.
"""

from dataclasses import dataclass

from lit_nas.operations import OperationStyle
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace

__all__ = ("GDAS_OPERATIONS", "GDASSpace")

GDAS_OPERATIONS = (
    "none",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "avg_pool_3x3",
    "max_pool_3x3",
)
"""The eight candidates in the order of the authors' code, which is the order of the columns of alpha."""


@dataclass(frozen=True)
class GDASSpace(SearchSpace):
    """Normal cells and reduction cells with two inputs; every node sees all earlier states.

    It differs from the space of DARTS in the places of the reductions, in pooling without BatchNorm, in biases of the
    convolutions before a BatchNorm, and in BatchNorm and ReLU before the classifier. With the defaults the search
    network has 1,343,034 weights for 10 classes, 744,570 with a fixed reduction cell.

    Raises:
        ValueError: if a number is too small or too large, or an operation is unknown.
    """

    name = "gdas"
    genotype_cells = ("normal",)  # and `reduce` where that was searched
    edges_per_node = 2

    init_channels: int = 16
    """C of the first cell; it doubles at each reduction."""
    normal_cells: int = 2
    """N: normal cells before the first reduction cell; one fewer follow each of the two."""
    nodes: int = 4
    """Intermediate nodes of a cell; all of them are concatenated."""
    operations: tuple[str, ...] = GDAS_OPERATIONS
    """Candidate names; any subset or extension of the known operations."""
    fixed_reduction: bool = False
    """Whether the reduction cell is that of the authors (FRC) and only the normal cell is searched."""

    def __post_init__(self) -> None:
        for name, least, most in (("normal_cells", 2, MOST_CELLS), ("nodes", 1, 20), ("init_channels", 2, 2**20)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"space.{name} must be from {least} to {most}, not {getattr(self, name)}.")
        multiple = 4 if self.fixed_reduction else 2
        if self.init_channels % multiple:
            reason = "the fixed reduction cell has eight groups" if self.fixed_reduction else "factorised reduction"
            raise ValueError(
                f"space.init_channels must be a multiple of {multiple} ({reason}), not {self.init_channels}."
            )
        object.__setattr__(self, "operations", tuple(self.operations))  # lists come from YAML
        _ = self.cells  # validates operations

    @property
    def style(self) -> OperationStyle:
        """Without affine parameters, with biases in their place; pooling is not normalised."""
        return OperationStyle(affine=False, pool_norm=False, conv_bias=True)

    @property
    def cells(self) -> dict[str, CellSpace]:
        """The type `normal` and, where it is searched, the type `reduce`."""
        edges = tuple((source, target) for target in range(2, 2 + self.nodes) for source in range(target))
        names = ("normal",) if self.fixed_reduction else ("normal", "reduce")
        return {name: CellSpace(name, self.operations, edges, reduction=name == "reduce") for name in names}

    @property
    def layout(self) -> tuple[Position, ...]:
        """Searched cells: N normal ones, then two times a reduction cell followed by N - 1 normal ones.

        A fixed reduction cell stands wherever channels double, and is not listed.
        """
        positions = [Position("normal", self.init_channels)] * self.normal_cells
        for channels in (2 * self.init_channels, 4 * self.init_channels):
            positions += [] if self.fixed_reduction else [Position("reduce", channels)]
            positions += [Position("normal", channels)] * (self.normal_cells - 1)
        return tuple(positions)
