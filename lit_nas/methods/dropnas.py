"""DropNAS: candidates are dropped at random in two groups, so that those that learn slowly are trained as well.

Paper: Hong et al., IJCAI 2020, https://arxiv.org/abs/2201.11679, algorithm 1.
Code: https://github.com/wiljohnhong/DropNAS.
Differs from the authors' code, which options follow: the decay joins the gradient of the loss (a step of its own with
`optim.decay.own_step: true`), parameters of dropped candidates stay as they are (with
`relaxation.freeze: false` the momentum of Adam updates them), and the exponent of the drop rate follows the size of a
group (`relaxation.group_size: 4` for that of the code in all spaces). What took part in a step is known from the draw
instead of guessed from values of gradients, and weights of candidates that a step drops do not go on along their
momentum. Edges are compared by their parameters as in the code (`TopEdges(by="logit")`), not by probabilities.

Formula:
    y = sum over o of r_o p_o o(x),    p_o = exp(alpha_o) / sum over kept o' of exp(alpha_o')
    r_o = 0 with the probability rate ^ (1 / size of the group of o), groups with and without weights
"""

from functools import partial

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, TopEdges, default_deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.optim import DartsAdam, DartsSGD, PartialDecay, SearchCosineLR
from lit_nas.relaxations import GroupedDropout, Relaxation
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("DropNAS",)

PAPER = SearchOptim(
    weights=partial(DartsSGD, lr=0.0375, weight_decay=0.0),
    arch=partial(DartsAdam, weight_decay=0.0),
    schedule=partial(SearchCosineLR, lr_min=1.5e-3),
    clip=3.0,
    level="single",
    decay=PartialDecay(),
)
"""Both decays are those of what a step uses."""


class DropNAS(ImageSearchModule):
    """Both levels step along the gradient of a network that has lost some candidates on each edge.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        relaxation: How parameters become weights, and what is dropped.
        edges: What an edge makes of its candidates.
        optim: Both optimisers, and the decay of what a step uses.
        deriver: How the architecture is made discrete; None is the rule of the space by parameters: two edges for each
            node in the space of DARTS, the best operation of each edge in that of NAS-Bench-201.
        engine: What computes the cells.
    """

    paper_batch_size = 96

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(num_cells=14),
        relaxation: Relaxation = GroupedDropout(),
        edges: EdgeKind = PlainEdges(),
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        if deriver is None and space.edges_per_node is not None:
            deriver = TopEdges(space.edges_per_node, by="logit")
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Draws, steps both levels along one gradient, and adjusts the parameters (algorithm 1)."""
        self.step_levels(self.loss, batch)
