"""Mobile networks: a chain of inverted residuals, searched or chosen.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS), read with the authors' code
(mit-han-lab/proxylessnas, 80c1c37).
Differs from the code: weights start as torch has them, and whole blocks may be dropped at random in a retraining.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.genotype import Genotype
from lit_nas.networks.cell_inputs import check_image_size
from lit_nas.networks.read_out import read_out
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.operations import EVALUATION, MBConv, MobileConvBN, OperationStyle, build_operation, drop_path
from lit_nas.spaces import CellSpace, MobileSpace, Position
from lit_nas.spaces.mobile import has_shortcut
from lit_nas.specs import ImageSpec

__all__ = (
    "MobileBlock",
    "MobileCIFARNetwork",
    "MobileNetwork",
    "MobileSearchCell",
    "MobileSearchNetwork",
    "ProxylessNetwork",
)

IMAGENET = MobileSpace()
CIFAR = MobileSpace(stem_stride=1, strides=(1, 2, 2, 1, 2, 1))
"""For images of 32x32 pixels, which are halved three times instead of five times; not in the paper."""


class MobileSearchCell(nn.Module):
    """A block of the search network.

    Args:
        space: Its edge and candidates.
        position: Where it stands.
        style: How the candidates are normalised.
        engine: What computes it.
        edges: What an edge makes of its candidates.
    """

    def __init__(
        self,
        space: CellSpace,
        position: Position,
        style: OperationStyle,
        engine: Engine,
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.space, self.engine, self.shortcut = space, engine, has_shortcut(position)
        before = position.channels if position.channels_in is None else position.channels_in
        self.edges = nn.ModuleList([edges.build(space.names(0), before, space.stride(0), style, position.channels)])

    def forward(self, x: Tensor, mixture: CellMixture) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        (node,) = self.engine(self, [x], mixture)
        return x + node if self.shortcut else node


class MobileBlock(nn.Module):
    """A block that is chosen.

    Args:
        operation: Its name.
        position: Where it stands.
    """

    def __init__(self, operation: str, position: Position) -> None:
        super().__init__()
        before = position.channels if position.channels_in is None else position.channels_in
        self.shortcut = has_shortcut(position)
        self.operation = build_operation(operation, before, position.stride or 1, EVALUATION, position.channels)

    def forward(self, x: Tensor, drop_probability: float = 0.0) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride].

        Beside a shortcut the path is dropped with `drop_probability`, in training mode only.
        """
        path = self.operation(x)
        if not self.shortcut:
            return path
        return x + (drop_path(path, drop_probability) if self.training and drop_probability > 0 else path)


def _stem(space: MobileSpace, spec: ImageSpec) -> nn.Sequential:
    """First convolution and fixed block."""
    check_image_size(spec, space.reductions)
    channels, first = space.scaled(space.stem_channels), space.scaled(space.first_channels)
    return nn.Sequential(MobileConvBN(spec.channels, channels, 3, space.stem_stride), MBConv(channels, first, 3, 1))


class MobileSearchNetwork(nn.Module):
    """Stem, searched blocks, last convolution, global average pooling, the head of the task.

    It holds network weights only; the architecture is an argument of the forward pass.

    Args:
        space: What is searched.
        spec: Images and labels.
        engine: What computes the blocks.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the images are too small, or the kind of edge does not fit the channels.
    """

    def __init__(
        self, space: MobileSpace, spec: ImageSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
    ) -> None:
        super().__init__()
        self.stem = _stem(space, spec)
        cells, layout, engine = space.cells, space.layout, engine or Fused()
        self.types = tuple(position.cell for position in layout)
        self.cells = nn.ModuleList(
            MobileSearchCell(cells[position.cell], position, space.style_at(position), engine, edges)
            for position in layout
        )
        self.head = MobileConvBN(layout[-1].channels, space.features, 1)
        self.dense, self.classifier = spec.task.dense, spec.task.head(space.features, spec)

    def features(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, C, H, W] and a mixture -> what the classifier sees, [B, C']."""
        x = self.stem(images)
        for cell, mixed in zip(self.cells, mixture, strict=True):
            x = cell(x, mixed)
        return read_out(self.head(x), self.dense)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, C, H, W] and a mixture -> logits [B, K]."""
        return self.classifier(self.features(images, mixture))


class ProxylessNetwork(nn.Module):
    """The network of a genotype; blocks whose choice is `none` are not there.

    Args:
        genotype: Its blocks.
        spec: Images and labels.
        space: Where they stand.

    Raises:
        ValueError: if the genotype is of another space or has other blocks, or the images are too small.
    """

    auxiliary = None

    def __init__(self, genotype: Genotype, spec: ImageSpec, space: MobileSpace) -> None:
        super().__init__()
        layout = space.layout
        if genotype.space != space.name or list(genotype.cells) != [position.cell for position in layout]:
            raise ValueError(
                f"This mobile network needs a genotype of the space '{space.name}' with {len(layout)} blocks, but "
                f"genotype '{genotype.label}' is of the space '{genotype.space}' and has {len(genotype.cells)} cells."
            )
        self.stem = _stem(space, spec)
        chosen = [(position, genotype.cells[position.cell].edges[0].operation) for position in layout]
        if lost := [position.cell for position, name in chosen if name == "none" and not has_shortcut(position)]:
            raise ValueError(f"The blocks {', '.join(lost)} have no shortcut: `none` would cut the network there.")
        kept = [(position, name) for position, name in chosen if name != "none"]
        self.types = tuple(position.cell for position, _ in kept)
        self.cells = nn.ModuleList(MobileBlock(name, position) for position, name in kept)
        self.head = MobileConvBN(layout[-1].channels, space.features, 1)
        self.dense, self.classifier = spec.task.dense, spec.task.head(space.features, spec)

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, None]:
        """Classifies images.

        Args:
            images: [B, C, H, W].
            drop_probability: Chance that a block with a shortcut is dropped for a sample, in training mode only.

        Returns:
            Logits [B, K], and None in the place of an auxiliary head.
        """
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x, drop_probability)
        return self.classifier(read_out(self.head(x), self.dense)), None


@dataclass(frozen=True)
class MobileNetwork(RetrainNetwork):
    """Chains of inverted residuals for large images, `mobile`.

    The networks that the authors published have widths of their own: `proxyless_cpu`, `proxyless_gpu` and
    `proxyless_mobile`.
    """

    paper_spec = ImageSpec(3, 224, 224, 1000)
    paper_batch_size = 512

    space: MobileSpace = IMAGENET
    """Where its blocks stand, and how wide they are."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        return ProxylessNetwork(genotype, spec, self.space)


@dataclass(frozen=True)
class MobileCIFARNetwork(RetrainNetwork):
    """The same chains for small images, `mobile_cifar`; not in the paper."""

    paper_batch_size = 64

    space: MobileSpace = CIFAR
    """Where its blocks stand, and how wide they are."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        return ProxylessNetwork(genotype, spec, self.space)


MOBILE_NETWORKS: dict[str, RetrainNetwork] = {
    "mobile": MobileNetwork(),
    "mobile_cifar": MobileCIFARNetwork(),
    "proxyless_cpu": MobileNetwork(
        MobileSpace(40, 24, (32, 48, 88, 104, 216, 360), last_channels=1432),
    ),
    "proxyless_gpu": MobileNetwork(
        MobileSpace(40, 24, (32, 56, 112, 128, 256, 432), last_channels=1728),
    ),
    "proxyless_mobile": MobileNetwork(
        MobileSpace(32, 16, (32, 40, 80, 96, 192, 320)),
    ),
}
"""What genotypes of the mobile space are trained in, by name; the last three are published."""
