"""StacNAS: search among groups of operators, one of its stages. `configs/job/stacnas.yaml` has all of them.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering", https://arxiv.org/abs/1909.11926,
algorithm 1. Code: https://github.com/susan0199/StacNAS.
The stages differ in their space alone: key operators of the groups first, members of the best group of each edge then
(`WinningGroup`). `none` competes on each edge and is never chosen; `TopEdges` compares edges by their parameters, as
the code does. Where groups differ in size, probabilities are the fairer measure:
`deriver: {class_path: TopEdges, init_args: {by: probability, sums_copies: true}}`. The paper does not say what it did.
Differs from the code: the last, incomplete batch of an epoch is dropped, so that all steps are of the same size. Two
of its options are left out: an architecture of its own for each cell, and the scale that `none` gives an edge as a part
of the final network.

Formula:
    w and alpha follow the gradient of one L_train(w, alpha),    y = sum over o in O_s of softmax(alpha)_o o(x)
    O_1 = one member of each group,    O_2 = the group of the best of O_1, on each edge
"""

from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, Deriver, TopEdges
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import STACNAS_S1, DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("StacNAS",)


class StacNAS(ImageSearchModule):
    """Weights and architecture step together along the gradient of one loss, on all training images.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched, `none` last among the operations; by default the key operators of S1 in 14 cells. The
            second stage has 20 cells, and candidates of its own on each edge.
        relaxation: How parameters become weights; the paper has `Softmax`.
        edges: What an edge makes of its candidates.
        optim: Both optimisers; `level: bilevel` is the two-level optimisation of the paper's ablation.
        deriver: How the architecture is made discrete; None compares the edges of a node by parameters, and keeps the
            best operation of each edge where the space has no limit, `none` excluded.
        engine: What computes the cells.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(num_cells=14, operations=(*STACNAS_S1.keys, "none")),
        relaxation: Relaxation = Softmax(),
        edges: EdgeKind = PlainEdges(),
        optim: SearchOptim = SearchOptim(clip=3.0, level="single"),
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        if deriver is None:
            kept = space.edges_per_node
            deriver = ArgmaxPerEdge(("none",)) if kept is None else TopEdges(kept, by="logit")
        self.deriver = deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Both levels at the same point (algorithm 1, lines 4-5 and 11-12); from the first step on."""
        self.step_levels(self.loss, batch)
