"""A method in fewer than 60 lines: the weights take several steps for each one of the architecture."""

from lit_nas.architecture import Architecture
from lit_nas.batches import by_role
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec


class Alternate(ImageSearchModule):
    """Weights in each step, the architecture in every n-th one.

    Args:
        spec: Images, labels and task; flows in from the data on the command line.
        space: What is searched.
        every: The architecture is updated in each n-th step of an epoch.
        optim: Both optimisers.
        deriver: How the architecture is made discrete; None is the rule of the space.
        relaxation: How parameters become weights.
        edges: What an edge makes of its candidates.
        engine: What computes the cells.
    """

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        every: int = 2,
        optim: SearchOptim = SearchOptim(),
        deriver: Deriver | None = None,
        relaxation: Relaxation = Softmax(),
        edges: EdgeKind = PlainEdges(),
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"model.every must be at least 1, not {every}.")
        self.spec, self.optim, self.every = spec, optim, every
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """The algorithm."""
        parts = by_role(batch)
        self.step_weights(self.loss, parts["weights"])
        if (batch_idx + 1) % self.every == 0:
            self.step_arch(self.loss, parts["arch"])
