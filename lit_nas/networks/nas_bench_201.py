"""The networks of NAS-Bench-201: three stages of equal cells, with a fixed residual block between two stages.

Paper: Dong, Yang, ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.2.
Differs from the authors' code (D-X-Y/AutoDL-Projects): paths may be dropped at random in training, which the benchmark
does not do.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.networks.cell_inputs import check_image_size
from lit_nas.networks.read_out import read_out
from lit_nas.operations import EVALUATION, BatchNorm, ConvBN, OperationStyle, ReLUConvBN, build_operation, drop_path
from lit_nas.spaces import CellSpace, NasBench201Space, Position
from lit_nas.specs import ImageSpec

__all__ = (
    "NasBench201Cell",
    "NasBench201Network",
    "NasBench201SearchCell",
    "NasBench201SearchNetwork",
    "ResidualBlock",
)


class ResidualBlock(nn.Module):
    """Two convolutions beside a pooled shortcut; halves H and W.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ReLUConvBN(in_channels, out_channels, 3, 2)
        self.second = ReLUConvBN(out_channels, out_channels, 3)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2]; H and W even."""
        return self.second(self.first(x)) + self.shortcut(F.avg_pool2d(x, 2))


class NasBench201SearchCell(nn.Module):
    """A cell of the search network.

    Args:
        space: Its DAG and candidates.
        channels: C.
        style: How the candidates are normalised.
        engine: What computes the nodes.
        edges: What an edge makes of its candidates.
    """

    def __init__(
        self,
        space: CellSpace,
        channels: int,
        style: OperationStyle,
        engine: Engine,
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.space, self.engine = space, engine
        self.edges = nn.ModuleList(
            edges.build(space.names(edge), channels, 1, style) for edge in range(len(space.edges))
        )

    def forward(self, x: Tensor, mixture: CellMixture) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W], the last node."""
        return self.engine(self, [x], mixture)[-1]


class NasBench201Cell(nn.Module):
    """A cell of a genotype.

    Args:
        genotype: Its six edges.
        channels: C.
    """

    def __init__(self, genotype: CellGenotype, channels: int) -> None:
        super().__init__()
        self.genotype = genotype
        self.operations = nn.ModuleList(
            build_operation(edge.operation, channels, 1, EVALUATION) for edge in genotype.edges
        )

    def forward(self, x: Tensor, drop_probability: float = 0.0) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W], the last node.

        Every path but the identity is dropped with `drop_probability`, in training mode only.
        """
        states = {0: x}
        for edge, operation in zip(self.genotype.edges, self.operations, strict=True):
            path = operation(states[edge.source])
            if self.training and drop_probability > 0 and not isinstance(operation, nn.Identity):
                path = drop_path(path, drop_probability)
            states[edge.target] = states[edge.target] + path if edge.target in states else path
        return states[3]


class _Head(nn.Module):
    """Batch normalisation, ReLU, and global average pooling unless the task speaks of each pixel."""

    def __init__(self, channels: int, dense: bool) -> None:
        super().__init__()
        self.norm, self.dense = BatchNorm(channels), dense

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> features [B, C], or maps."""
        return read_out(F.relu(self.norm(x)), self.dense)


def _with_blocks(layout: tuple[Position, ...]) -> list[Position]:
    """The layout with a residual block, of the type `residual`, wherever channels change."""
    positions, channels = [], layout[0].channels
    for position in layout:
        if position.channels != channels:
            positions.append(Position("residual", position.channels))
            channels = position.channels
        positions.append(position)
    return positions


class NasBench201SearchNetwork(nn.Module):
    """Stem, cells and residual blocks, global average pooling, the head of the task.

    It holds network weights only; the architecture is an argument of the forward pass. Stem, residual blocks and the
    last BatchNorm are affine and keep running statistics, whatever the style of the candidates.

    Args:
        space: What is searched.
        spec: Images and labels.
        engine: What computes the nodes of the cells.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the images are too small for the residual blocks, or the kind of edge does not fit the channels.
    """

    def __init__(
        self, space: NasBench201Space, spec: ImageSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
    ) -> None:
        super().__init__()
        check_image_size(spec, 2)
        channels, positions, cells = space.init_channels, _with_blocks(space.layout), space.cells
        self.stem = ConvBN(spec.channels, channels)
        self.types = tuple(position.cell for position in positions)
        self.searched = tuple(number for number, kind in enumerate(self.types) if kind in cells)
        self.cells = nn.ModuleList()
        for kind, width, *_ in positions:
            self.cells.append(
                NasBench201SearchCell(cells[kind], width, space.style, engine or Fused(), edges)
                if kind in cells
                else ResidualBlock(channels, width)
            )
            channels = width
        self.head = _Head(channels, spec.task.dense)
        self.classifier = spec.task.head(channels, spec)

    def features(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, 3, H, W] and a mixture -> features [B, 4C], what the classifier sees."""
        x, mixed = self.stem(images), dict(zip(self.searched, mixture, strict=True))
        for number, cell in enumerate(self.cells):
            x = cell(x, mixed[number]) if number in mixed else cell(x)
        return self.head(x)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, 3, H, W] and a mixture -> logits [B, K]."""
        return self.classifier(self.features(images, mixture))


class NasBench201Network(nn.Module):
    """The network of a genotype, as the benchmark trained it.

    Args:
        genotype: A cell of NAS-Bench-201.
        spec: Images and labels.
        init_channels: C of the first stage.
        num_cells: Searched cells, a multiple of three; the two residual blocks come on top.

    Raises:
        ValueError: if the genotype, the images or a number do not fit.
    """

    auxiliary = None

    def __init__(
        self, genotype: Genotype, spec: ImageSpec = ImageSpec(), init_channels: int = 16, num_cells: int = 15
    ) -> None:
        super().__init__()
        if num_cells < 3 or num_cells % 3:
            raise ValueError(f"num_cells must be a positive multiple of 3 (three equal stages), not {num_cells}.")
        space = NasBench201Space(init_channels, num_cells // 3)
        if genotype.space != space.name:
            raise ValueError(
                f"The network of NAS-Bench-201 needs a genotype of the space '{space.name}', but genotype "
                f"'{genotype.label}' is of the space '{genotype.space}'."
            )
        check_image_size(spec, 2)
        self.stem = ConvBN(spec.channels, init_channels)
        positions, channels = _with_blocks(space.layout), init_channels
        self.types = tuple(position.cell for position in positions)
        self.cells = nn.ModuleList()
        for kind, width, *_ in positions:
            block = kind not in genotype.cells
            self.cells.append(ResidualBlock(channels, width) if block else NasBench201Cell(genotype.cells[kind], width))
            channels = width
        self.head = _Head(channels, spec.task.dense)
        self.classifier = spec.task.head(channels, spec)

    def features(self, images: Tensor, drop_probability: float = 0.0) -> Tensor:
        """[B, 3, H, W] -> features [B, 4C], what the classifier sees."""
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x) if isinstance(cell, ResidualBlock) else cell(x, drop_probability)
        return self.head(x)

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, None]:
        """Classifies images.

        Args:
            images: [B, C, H, W].
            drop_probability: Chance that a path is dropped for a sample, in training mode only.

        Returns:
            Logits [B, K], and None in the place of an auxiliary head.
        """
        return self.classifier(self.features(images, drop_probability)), None
