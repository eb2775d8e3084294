"""A chain of blocks as a user may write it: each position has candidates, channels, a stride and a style of its own.

Nothing of lit-nas knows it; it is made known at the end of this file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine
from lit_nas.genotype import Genotype
from lit_nas.networks import RetrainNetwork, register_space
from lit_nas.operations import EVALUATION, BatchNorm, ConvBN, OperationStyle, build_operation, register_operation
from lit_nas.spaces import CellSpace, Position, SearchSpace
from lit_nas.specs import ImageSpec


def _block(kernel: int, expansion: int) -> Callable[[int, int, int, OperationStyle], nn.Module]:
    """An inverted residual block without its shortcut: expansion, depthwise convolution, projection."""

    def build(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
        wide = before * expansion
        return nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), BatchNorm(wide, style.affine), nn.ReLU6(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False), BatchNorm(wide, style.affine),
            nn.ReLU6(), nn.Conv2d(wide, after, 1, bias=False), BatchNorm(after, style.affine),
        )  # fmt: skip

    return build


@dataclass(frozen=True)
class ChainSpace(SearchSpace):
    """Three blocks with an edge each; the last one has a shortcut, so that `none` leaves it out."""

    name = "tiny_chain"

    width: int = 4
    """C of the first block."""

    @property
    def cells(self) -> dict[str, CellSpace]:
        """A cell type for each position."""
        candidates = (
            ("skip_connect", "sep_conv_3x3", "tiny_chain_3x3"),
            ("tiny_chain_3x3", "nor_conv_3x3", "tiny_chain_5x5", "dil_conv_3x3"),
            ("none", "tiny_chain_5x5"),
        )
        return {
            f"block_{number}": CellSpace(f"block_{number}", names, ((0, 1),), 1, keeps_none="none" in names)
            for number, names in enumerate(candidates)
        }

    @property
    def layout(self) -> tuple[Position, ...]:
        """Channels grow in the second block, which halves the image."""
        biased = OperationStyle(affine=False, pool_norm=False, conv_bias=True)
        return (
            Position("block_0", self.width),
            Position("block_1", self.width + 2, channels_in=self.width, stride=2, style=biased),
            Position("block_2", self.width + 2, style=EVALUATION),
        )


class ChainCell(nn.Module):
    """A block of the search network."""

    def __init__(
        self, space: CellSpace, position: Position, style: OperationStyle, engine: Engine, edges: EdgeKind
    ) -> None:
        super().__init__()
        self.space, self.engine, self.shortcut = space, engine, "none" in space.operations
        before = position.channels_in or position.channels
        self.edges = nn.ModuleList([edges.build(space.operations, before, space.stride(0), style, position.channels)])

    def forward(self, x: Tensor, mixture: CellMixture) -> Tensor:
        (node,) = self.engine(self, [x], mixture)
        return x + node if self.shortcut else node


class ChainSearchNetwork(nn.Module):
    """Stem, blocks, global average pooling, linear classifier."""

    def __init__(self, space: ChainSpace, spec: ImageSpec, engine: Engine, edges: EdgeKind = PlainEdges()) -> None:
        super().__init__()
        self.stem = ConvBN(spec.channels, space.width)
        self.types = tuple(position.cell for position in space.layout)
        self.cells = nn.ModuleList(
            ChainCell(space.cell_at(position), position, space.style_at(position), engine, edges)
            for position in space.layout
        )
        self.classifier = nn.Linear(space.layout[-1].channels, spec.classes)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        x = self.stem(images)
        for cell, mixed in zip(self.cells, mixture, strict=True):
            x = cell(x, mixed)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class FixedChain(nn.Module):
    """The chain of the chosen blocks."""

    def __init__(self, space: ChainSpace, genotype: Genotype, spec: ImageSpec) -> None:
        super().__init__()
        self.stem = ConvBN(spec.channels, space.width)
        self.types = tuple(position.cell for position in space.layout)
        self.cells = nn.ModuleList()
        for position in space.layout:
            (edge,) = genotype.cells[position.cell].edges
            stride = space.cell_at(position).stride(0)
            before = position.channels_in or position.channels
            self.cells.append(build_operation(edge.operation, before, stride, EVALUATION, position.channels))
        self.classifier = nn.Linear(space.layout[-1].channels, spec.classes)

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, None]:
        x = self.stem(images)
        for cell, kind in zip(self.cells, self.types, strict=True):
            x = x + cell(x) if kind == "block_2" else cell(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1)), None


@dataclass(frozen=True)
class ChainNetwork(RetrainNetwork):
    """Trains a chain as wide as that of the search, unless it is told otherwise."""

    space: ChainSpace = ChainSpace()
    """Where its positions are."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        return FixedChain(self.space, genotype, spec)


register_operation("tiny_chain_3x3", _block(3, 2))
register_operation("tiny_chain_5x5", _block(5, 3))
register_space(ChainSpace, ChainSearchNetwork, {"tiny_chain": ChainNetwork()})
