"""FaDE: cells of a chain compete by hard samples, and their probabilities rank all networks of the chain.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.2 and 3; there is no official code. This is the training of one
hyper-architecture; `lit_nas.fade` makes ranks of what it leaves.
Not printed there, and chosen here: which level goes first (the architecture, as in DARTS), one draw for each row and
step, a gradient from all cells of a row where the architecture is updated (`relaxation.gradient: drawn` has that of the
sampled one, as GDAS), Adam with lr 1e-3 and without weight decay for the architecture, the strength of the maximum
norm, 0.5 falling to 0 (`Linear(0.5, -0.5)` pushes rows to decide at the end), its factors, 1 for all rows (the paper
had better ranks where deeper rows learn more slowly, so factors that rise), and a constant learning rate of the weights
as well. "10 absolute" is read as a limit of each entry of a gradient (`optim.clip_by: norm` has that of its norm).
Differs from the paper: it prints the betas of Adam as 0.1 and 0.001, which are taken for 1 - beta; what it says
literally is `optim.weights.betas: [0.1, 0.001]`.

Formula:
    h_i = onehot(argmax q_i) - stop(q_i) + q_i,    q_i = softmax((alpha_i + G_i) / 10),    i: row
    rank of a network with cell k_i in row i = product over i of softmax(alpha_i)_{k_i}
"""

from functools import partial

from torch.optim.lr_scheduler import ConstantLR

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.optim import DartsAdam
from lit_nas.regularizers import MaxNorm
from lit_nas.relaxations import GumbelSoftmax, Relaxation
from lit_nas.schedules import Constant, Linear
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DagSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("FaDE",)

PAPER = SearchOptim(
    weights=partial(DartsAdam, lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
    arch=partial(DartsAdam, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0),
    schedule=partial(ConstantLR, factor=1.0),
    clip=10.0,
    clip_by="value",
    regularizers=(MaxNorm(Linear(0.5, 0.0), of="sample"),),
    arch_clip=10.0,
)
"""As the paper, and where it is silent as the module says."""
TEN = GumbelSoftmax(Constant(10.0), hard=True, initial_deviation=1.0, gradient="all")
"""The relaxation of the paper: its parameters begin standard normal."""


class FaDE(ImageSearchModule):
    """The architecture, then the weights: each by a network that is sampled cell by cell.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched; `DagSpace` is that of the paper, a row of cells at each depth.
        relaxation: How parameters become weights: hard samples at a constant temperature of 10, which does not change
            what is drawn, only how large gradients are.
        optim: Both optimisers, and the maximum norm among `regularizers`.
        deriver: How the architecture is made discrete; None is the rule of the space: the most probable cell of a row.
        engine: What computes the rows.
        edges: What a row makes of its cells; `SharedDagConvs` lets them share their convolutions.
    """

    paper_batch_size = 128

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DagSpace(),
        relaxation: Relaxation = TEN,
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation, evaluation="best")
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """One step of each level, by the first order; the architecture has images of its own."""
        self.step_levels(self.loss, batch)
