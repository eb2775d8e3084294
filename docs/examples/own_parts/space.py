"""A cell space: a ladder of rungs with two nodes each; rungs of one width share their architecture."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine
from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.networks import RetrainNetwork, register_space
from lit_nas.operations import EVALUATION, ConvBN, build_operation
from lit_nas.spaces import CellSpace, Position, SearchSpace
from lit_nas.specs import ImageSpec
from own_parts import operation  # noqa: F401 - makes its operation known

EDGES = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class LadderSpace(SearchSpace):
    """`rungs` cells of `width` channels, each with the edges 0-1, 0-2 and 1-2."""

    name = "ladder"
    genotype_cells = ("rung",)

    width: int = 8
    """C."""
    rungs: int = 3
    """Depth."""
    operations: tuple[str, ...] = ("none", "skip_connect", "nor_conv_3x3", "squeeze_conv_3x3")
    """Candidates of each edge."""

    @property
    def cells(self) -> dict[str, CellSpace]:
        """One type; the second node is the output."""
        return {"rung": CellSpace("rung", tuple(self.operations), EDGES, 1, outputs=(2,), keeps_none=True)}

    @property
    def layout(self) -> tuple[Position, ...]:
        """Rungs of equal width."""
        return (Position("rung", self.width),) * self.rungs


class Rung(nn.Module):
    """A cell of the search network: the engine computes its nodes."""

    def __init__(self, space: LadderSpace, engine: Engine, edges: EdgeKind) -> None:
        super().__init__()
        self.space, self.engine = space.cells["rung"], engine
        self.edges = nn.ModuleList(edges.build(self.space.names(e), space.width, 1, space.style) for e in range(3))

    def forward(self, x: Tensor, mixture: CellMixture) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return x + self.engine(self, [x], mixture)[-1]


class Ladder(nn.Module):
    """Stem, rungs, and what the task reads; the search network, and with a genotype the network that is retrained."""

    def __init__(self, space: LadderSpace, spec: ImageSpec, cells: list[nn.Module]) -> None:
        super().__init__()
        self.stem = ConvBN(spec.channels, space.width)
        self.types, self.cells = ("rung",) * len(cells), nn.ModuleList(cells)
        self.dense, self.classifier = spec.task.dense, spec.task.head(space.width, spec)

    def read(self, x: Tensor) -> Tensor:
        """Maps or their means to outputs."""
        return self.classifier(x if self.dense else F.adaptive_avg_pool2d(x, 1).flatten(1))


class LadderSearch(Ladder):
    """All candidates."""

    def __init__(self, space: LadderSpace, spec: ImageSpec, engine: Engine, edges: EdgeKind = PlainEdges()) -> None:
        super().__init__(space, spec, [Rung(space, engine, edges) for _ in range(space.rungs)])

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """Images and a mixture -> outputs."""
        x = self.stem(images)
        for cell, mixed in zip(self.cells, mixture, strict=True):
            x = cell(x, mixed)
        return self.read(x)


class FixedRung(nn.Module):
    """A cell of a genotype; with `genotype` and `operations` its edges have costs (lit-nas profile)."""

    def __init__(self, genotype: CellGenotype, channels: int) -> None:
        super().__init__()
        self.genotype = genotype
        self.operations = nn.ModuleList(build_operation(e.operation, channels, 1, EVALUATION) for e in genotype.edges)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        states = {0: x}
        for edge, module in zip(self.genotype.edges, self.operations, strict=True):
            path = module(states[edge.source])
            states[edge.target] = states[edge.target] + path if edge.target in states else path
        return x + states[2]


class FixedLadder(Ladder):
    """The network of a genotype."""

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, None]:
        """Images -> outputs, and no auxiliary ones."""
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x)
        return self.read(x), None


@dataclass(frozen=True)
class LadderNetwork(RetrainNetwork):
    """Trains a ladder."""

    init_channels: int = 16
    """C."""
    num_cells: int = 5
    """Rungs."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        space, cell = LadderSpace(self.init_channels, self.num_cells), genotype.cells["rung"]
        return FixedLadder(space, spec, [FixedRung(cell, self.init_channels) for _ in range(self.num_cells)])


register_space(LadderSpace, LadderSearch, {"ladder": LadderNetwork()})
