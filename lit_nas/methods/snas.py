"""SNAS: stochastic neural architecture search, samples of a concrete distribution and a resource constraint, one level.

Paper: Xie, Zheng, Liu, Lin, ICLR 2019, https://arxiv.org/abs/1812.09926; code SNAS-Series/SNAS-Series, commits dea7943
and 6b08bf9.
What differs there: the code updates the architecture by plain SGD on one GPU and by Adam with weight decay on several,
which is the default here; it lowers the temperature over 150 epochs whatever the length of the run, here over the run;
it takes the logarithm of what an edge costs (`ResourceCost.form: log_of_edge`), where the default is the cost of the
paper, which is linear in the sample; paths are dropped with a probability that rises to 0.3 over the run, in the code
with 0.3 from the start (`drop_path: Constant(0.3)`). The strengths of the mild, moderate and aggressive constraint are
not printed. A cell may have a sample of its own (`relaxation.per_cell`), which neither does by default.

Formula:
    Z = softmax((log p + G) / lambda),    G: Gumbel noise,    p = softmax(alpha)
    w and alpha follow the gradient of E_Z[L(Z, w) + eta C(Z)],    C: the cost of a sample
"""

from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, Deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.regularizers import ResourceCost
from lit_nas.relaxations import GumbelSoftmax, Relaxation
from lit_nas.schedules import Linear, Schedule
from lit_nas.search import DroppedPaths, ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("SNAS",)


class SNAS(ImageSearchModule):
    """Weights and architecture are updated together, along the gradient of the loss of a sample and of its cost.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        relaxation: How parameters become weights; the paper has soft samples, whose temperature falls.
        drop_path: Chance that what an edge adds to its node is missing for a sample of a training batch, over the
            search; None drops nothing, and lets the engine compute the candidates of an edge together, which is faster.
        optim: Both optimisers, and the resource constraint among `regularizers`.
        deriver: How the architecture is made discrete: no limit on edges, and `none` removes them.
        engine: What computes the cells.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        relaxation: Relaxation = GumbelSoftmax(Linear(1.0, 0.03, "epoch"), initial_mean=1.0, initial_deviation=0.01),
        drop_path: Schedule | None = Linear(0.0, 0.3, "epoch"),
        optim: SearchOptim = SearchOptim(level="single", arch_clip=10.0, regularizers=(ResourceCost(),)),
        deriver: Deriver = ArgmaxPerEdge(keeps_empty_nodes=True),
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.spec, self.optim, self.deriver = spec, optim, deriver
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        if drop_path is not None:
            DroppedPaths(drop_path, self.architecture).attach(self.network)

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """One sample, one backward pass, and a step of both levels."""
        self.step_levels(self.loss, batch)
