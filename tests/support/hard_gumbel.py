"""A stand-in for methods that draw: hard Gumbel-softmax samples, one candidate on each edge."""

from typing import Literal

from lit_nas.architecture import Architecture
from lit_nas.batches import by_role
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import GumbelSoftmax
from lit_nas.schedules import Linear, Schedule
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec


class HardGumbel(ImageSearchModule):
    """Each level steps along the gradient of one drawn network."""

    def __init__(
        self,
        inputs: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        temperature: Schedule = Linear(10.0, 0.1, "epoch", inclusive=True),
        order: Literal[1, 2] = 1,
        per_cell: bool = False,
        optim: SearchOptim = SearchOptim(),
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        self.inputs, self.order, self.optim = inputs, order, optim
        self.network = build_search_network(space, inputs, engine)
        self.architecture = Architecture(space, GumbelSoftmax(temperature, True, per_cell), evaluation="best")

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """The level that the settings say, or the second order."""
        if self.order == 1:
            self.step_levels(self.loss, batch)
        else:
            batch = by_role(batch)
            self.step_arch_unrolled(self.loss, batch["arch"], batch["weights"], "finite_difference")
            self.step_weights(self.loss, batch["weights"])
