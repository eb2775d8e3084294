"""A search on a kind of edge, for tests of what every method must satisfy."""

from collections.abc import Callable

from lit_nas.architecture import Architecture
from lit_nas.edges import AuxiliarySkip, EdgeKind, MergedConvolutions, PartialChannels, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import ImageSearchModule, SearchBatch, SearchModule, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec
from tests.support.tiny import INPUTS, SPACE


class EdgeSearch(ImageSearchModule):
    """First-order DARTS with another kind of edge."""

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        edges: EdgeKind = PlainEdges(),
        optim: SearchOptim = SearchOptim(),
        engine: Engine = Fused(),
        edge_relaxation: Relaxation | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, Softmax(), edge_relaxation)

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        self.step_levels(self.loss, batch)


EDGE_SEARCHES: dict[str, Callable[[], SearchModule]] = {
    "partial channels": lambda: EdgeSearch(INPUTS, SPACE, PartialChannels(2)),
    "auxiliary path": lambda: EdgeSearch(INPUTS, SPACE, AuxiliarySkip("conv_1x1")),
    "merged kernels": lambda: EdgeSearch(INPUTS, SPACE, MergedConvolutions()),
    "weighted edges": lambda: EdgeSearch(INPUTS, SPACE, PartialChannels(2), edge_relaxation=Softmax()),
}
