"""The search space of ProxylessNAS on ImageNet: a chain of inverted residuals, each searched for itself.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332, section 4.2. Read with the authors' code
(mit-han-lab/proxylessnas, 80c1c37, `search/models/super_nets/super_proxyless.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from lit_nas.operations import EVALUATION, OperationStyle
from lit_nas.spaces.candidates import Rows, candidates_by_cell
from lit_nas.spaces.chains import check_chain
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("MOBILE_OPERATIONS", "MobileSpace", "round_channels")

# as a type, so that a configuration that changes the class of the space does not bring the operations of the old one
Operation = Literal[
    "mb_conv_3x3_e3", "mb_conv_3x3_e6", "mb_conv_5x5_e3", "mb_conv_5x5_e6", "mb_conv_7x7_e3", "mb_conv_7x7_e6"
]
MOBILE_OPERATIONS: tuple[Operation, ...] = get_args(Operation)
"""Kernels of 3, 5 and 7, each with expansions of 3 and 6."""
EDGES = ((0, 1),)


def round_channels(channels: float) -> int:
    """The multiple of 8 that is next to a number of channels, and at least 0.9 of it.

    Args:
        channels: As wide as a network would be.
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class MobileSpace(SearchSpace):
    """Stages of blocks with one edge each; every block has candidates, and parameters, of its own.

    A block that changes neither size nor channels has a shortcut beside its edge, and `none` among its candidates,
    which leaves the block out: so the depth is searched, too. With the defaults 21 blocks are searched, 15 of them with
    7 candidates and 6 with 6, behind a fixed block of expansion 1.

    Raises:
        ValueError: if a number is out of range, the stages are not equally many everywhere, an operation is not of this
            space, or the candidates do not fit the blocks.
    """

    name = "mobile"

    stem_channels: int = 32
    """C of the first convolution."""
    first_channels: int = 16
    """C of the fixed block."""
    widths: tuple[int, ...] = (24, 40, 80, 96, 192, 320)
    """C of the blocks of each stage."""
    blocks: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    """Searched blocks of each stage."""
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    """Stride of the first block of each stage."""
    stem_stride: int = 2
    """Stride of the first convolution."""
    last_channels: int = 1280
    """C of the last convolution, which the classifier sees."""
    width: float = 1.0
    """What all C are multiplied by, to the next multiple of 8; that of the last convolution does not shrink."""
    operations: tuple[Operation, ...] = MOBILE_OPERATIONS
    """Candidate names; any of the six. Blocks with a shortcut also have `none`."""
    candidates: Mapping[str, Sequence[Sequence[str]]] | str | Path | None = field(default=None, hash=False)
    """Block (`block_1` is the first that is searched) -> one row of the candidates that its edge has; only these are
    built. None, or a block that is left out, means all operations. The path of a `candidates.json`, which a search
    leaves, stands for what the file holds."""

    def __post_init__(self) -> None:
        for name in ("widths", "blocks", "strides", "operations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists come from YAML
        self._check_numbers()
        if foreign := sorted(set(self.operations) - set(MOBILE_OPERATIONS)):
            raise ValueError(
                f"space.operations names {foreign}, which the mobile space does not have. Known are: "
                f"{', '.join(MOBILE_OPERATIONS)}."
            )
        if self.candidates is not None:
            edges = {position.cell: EDGES for position in self.layout}
            object.__setattr__(
                self, "candidates", candidates_by_cell(self.candidates, self.name, edges, self.operations)
            )
        _ = self.cells  # validates operations and candidates

    def _check_numbers(self) -> None:
        if not len(self.widths) == len(self.blocks) == len(self.strides) > 0:
            raise ValueError(
                "space.widths, space.blocks and space.strides need one number for each stage, but have "
                f"{len(self.widths)}, {len(self.blocks)} and {len(self.strides)}."
            )
        for name in ("stem_channels", "first_channels", "last_channels", "widths", "blocks"):
            value = getattr(self, name)
            if any(number < 1 for number in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"space.{name} must be at least 1, not {value}.")
        if sum(self.blocks) > MOST_CELLS:
            raise ValueError(f"space.blocks must be at most {MOST_CELLS} together, not {sum(self.blocks)}.")
        if not {*self.strides, self.stem_stride} <= {1, 2}:
            raise ValueError(
                f"space.strides and space.stem_stride must be 1 or 2, not {self.strides} and {self.stem_stride}."
            )
        if not 0 < self.width <= 10:  # nan is neither
            raise ValueError(f"space.width must be above 0 and at most 10, not {self.width}.")

    def scaled(self, channels: int) -> int:
        """C times the width.

        Args:
            channels: With a width of 1.
        """
        return channels if self.width == 1 else round_channels(channels * self.width)

    @property
    def features(self) -> int:
        """C that the classifier sees."""
        return self.scaled(self.last_channels) if self.width > 1 else self.last_channels

    @property
    def reductions(self) -> int:
        """How many times the network halves H and W."""
        return [self.stem_stride, *self.strides].count(2)

    @property
    def style(self) -> OperationStyle:
        """Affine BatchNorm, in the search as well."""
        return EVALUATION

    @property
    def layout(self) -> tuple[Position, ...]:
        """The searched blocks."""
        positions: list[Position] = []
        before = self.scaled(self.first_channels)
        for width, count, stride in zip(self.widths, self.blocks, self.strides, strict=True):
            channels = self.scaled(width)
            for number in range(count):
                step = 1 if number else stride
                positions.append(Position(f"block_{len(positions) + 1}", channels, before, step))
                before = channels
        return tuple(positions)

    @property
    def cells(self) -> dict[str, CellSpace]:
        """A type for each block."""
        own, found = cast(Rows, self.candidates or {}), {}
        for position in self.layout:
            optional = has_shortcut(position)
            names = (*self.operations, "none") if optional else self.operations
            found[position.cell] = CellSpace(
                position.cell, names, EDGES, 1, position.stride == 2, keeps_none=optional,
                candidates=own.get(position.cell, ()),
            )  # fmt: skip
        return found

    @classmethod
    def check_genotype(cls, cells: Mapping[str, "CellGenotype"]) -> None:
        """Refuses cells that are not blocks of one edge.

        Args:
            cells: By type.

        Raises:
            ValueError: if they are not `block_1` and so on, or one has other edges or operations.
        """
        super().check_genotype(cells)
        known = (*MOBILE_OPERATIONS, "none")
        check_chain(cls.name, "block", cells, known.__contains__, f"none or one of {', '.join(MOBILE_OPERATIONS)}")


def has_shortcut(position: Position) -> bool:
    """Whether a block keeps size and channels, so that its input is added to its output.

    Args:
        position: Of a mobile space.
    """
    return position.stride == 1 and position.channels_in == position.channels
