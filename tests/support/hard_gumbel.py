"""A stand-in for methods that draw and step by the second order: one candidate on each edge."""

from lit_nas.architecture import Architecture
from lit_nas.batches import by_role
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import GumbelSoftmax
from lit_nas.schedules import Linear
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec


class HardGumbel(ImageSearchModule):
    """Hard samples as in GDAS, which has no second order."""

    order = 2

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        optim: SearchOptim = SearchOptim(),
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine)
        relaxation = GumbelSoftmax(Linear(10.0, 0.1, "epoch", inclusive=True), hard=True)
        self.architecture = Architecture(space, relaxation, evaluation="best")

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Architecture first, then weights."""
        parts = by_role(batch)
        self.step_arch_unrolled(self.loss, parts["arch"], parts["weights"], "finite_difference")
        self.step_weights(self.loss, parts["weights"])
