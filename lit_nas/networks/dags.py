"""Networks of the space of FaDE: a chain of DAGs, searched or chosen.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.4 and 3. Differs from the paper: paths that are added may be
dropped at random in a retraining.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.dags import parse_dag
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.genotype import Genotype
from lit_nas.networks.cell_inputs import check_image_size
from lit_nas.networks.read_out import read_out
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.operations import DagCell, DagConv, OperationStyle, init_kaiming
from lit_nas.spaces import CellSpace, DagSpace
from lit_nas.specs import ImageSpec

__all__ = ("DagChainNetwork", "DagNetwork", "DagRow", "DagSearchNetwork", "DagSearchRow")

DEFAULT = DagSpace()


class DagTransition(nn.Sequential):
    """Convolution, ReLU and max pooling before a row, to its channels and to half the size.

    Args:
        in_channels: C.
        out_channels: C'.
        space: The side of the kernel, and whether there is a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, space: DagSpace) -> None:
        super().__init__(DagConv(in_channels, out_channels, space.bias, space.transition_kernel), nn.MaxPool2d(2))


class DagSearchRow(nn.Module):
    """A row of the search network.

    Args:
        transition: What comes before its cells; they all read the same.
        space: Its candidates.
        channels: C.
        style: Whether convolutions have a bias.
        engine: What computes it.
        edges: What it makes of its candidates.
    """

    def __init__(
        self,
        transition: nn.Module,
        space: CellSpace,
        channels: int,
        style: OperationStyle,
        engine: Engine,
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.transition, self.space, self.engine = transition, space, engine
        self.edges = nn.ModuleList([edges.build(space.names(0), channels, 1, style)])

    def forward(self, x: Tensor, mixture: CellMixture) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2], in the first row [B, C, H, W]."""
        (node,) = self.engine(self, [self.transition(x)], mixture)
        return node


class DagRow(nn.Module):
    """A row whose cell is chosen.

    Args:
        transition: What comes before the cell.
        cell: The cell.
    """

    def __init__(self, transition: nn.Module, cell: DagCell) -> None:
        super().__init__()
        self.transition, self.cell = transition, cell

    def forward(self, x: Tensor, drop_probability: float = 0.0) -> Tensor:
        """As `DagSearchRow`; values that are added are dropped with `drop_probability`, in training mode only."""
        return self.cell(self.transition(x), drop_probability)


def _transitions(space: DagSpace, spec: ImageSpec) -> tuple[nn.Module, list[nn.Module]]:
    """The first convolution, and what comes before each row."""
    check_image_size(spec, space.reductions)
    widths = space.widths
    between = (DagTransition(before, after, space) for before, after in pairwise(widths))
    return DagConv(spec.channels, widths[0], space.bias, space.transition_kernel), [nn.Identity(), *between]


def _classifier(space: DagSpace, spec: ImageSpec) -> nn.Module:
    classifier = spec.task.head(space.widths[-1], spec)
    for layer in classifier.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            init_kaiming(layer)
    return classifier


class DagSearchNetwork(nn.Module):
    """First convolution, rows of candidates, global average pooling, the head of the task.

    It holds network weights only; the architecture is an argument of the forward pass.

    Args:
        space: What is searched.
        spec: Images and labels.
        engine: What computes the rows.
        edges: What a row makes of its candidates; `SharedDagConvs` lets them share their convolutions.

    Raises:
        ValueError: if the images are too small, or the kind of edge does not fit the candidates.
    """

    def __init__(
        self, space: DagSpace, spec: ImageSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
    ) -> None:
        super().__init__()
        self.stem, transitions = _transitions(space, spec)
        cells, layout, engine = space.cells, space.layout, engine or Fused()
        self.types = tuple(position.cell for position in layout)
        self.cells = nn.ModuleList(
            DagSearchRow(before, cells[position.cell], position.channels, space.style_at(position), engine, edges)
            for before, position in zip(transitions, layout, strict=True)
        )
        self.dense, self.classifier = spec.task.dense, _classifier(space, spec)

    def features(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, C, H, W] and a mixture -> what the classifier sees, [B, C']."""
        x = self.stem(images)
        for row, mixed in zip(self.cells, mixture, strict=True):
            x = row(x, mixed)
        return read_out(x, self.dense)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, C, H, W] and a mixture -> logits [B, K]."""
        return self.classifier(self.features(images, mixture))


class DagChainNetwork(nn.Module):
    """The network of a genotype.

    Args:
        genotype: Its rows.
        spec: Images and labels.
        space: Channels, and what lies between the rows.

    Raises:
        ValueError: if the genotype is of another space or has other rows, or the images are too small.
    """

    auxiliary = None

    def __init__(self, genotype: Genotype, spec: ImageSpec, space: DagSpace = DEFAULT) -> None:
        super().__init__()
        self.types = tuple(position.cell for position in space.layout)
        if genotype.space != space.name or tuple(genotype.cells) != self.types:
            raise ValueError(
                f"This network needs a genotype of the space '{space.name}' with {len(self.types)} rows, one for each "
                f"of the widths {space.widths}, but genotype '{genotype.label}' is of the space '{genotype.space}' and "
                f"has {len(genotype.cells)} cells."
            )
        self.stem, transitions = _transitions(space, spec)
        chosen = [parse_dag(genotype.cells[kind].edges[0].operation) for kind in self.types]
        self.cells = nn.ModuleList(
            DagRow(before, DagCell(dag, width, space.bias))
            for before, dag, width in zip(transitions, chosen, space.widths, strict=True)
        )
        self.dense, self.classifier = spec.task.dense, _classifier(space, spec)

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, None]:
        """Classifies images.

        Args:
            images: [B, C, H, W].
            drop_probability: Chance that one of several values that are added is dropped for a sample, in training mode
                only.

        Returns:
            Logits [B, K], and None in the place of an auxiliary head.
        """
        x = self.stem(images)
        for row in self.cells:
            x = row(x, drop_probability)
        return self.classifier(read_out(x, self.dense)), None


@dataclass(frozen=True)
class DagNetwork(RetrainNetwork):
    """Chains of DAGs, `dags`: what a genotype of `DagSpace` is trained in."""

    paper_batch_size = 128

    space: DagSpace = DEFAULT
    """Channels, and what lies between the rows; its candidates do not matter."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        return DagChainNetwork(genotype, spec, self.space)
