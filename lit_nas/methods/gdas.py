"""GDAS: each step samples one operation of each edge, and the samples have a gradient.

Paper: Dong, Yang, "Searching for a robust neural architecture in four GPU hours", CVPR 2019,
https://arxiv.org/abs/1910.04465.
As the authors' code (D-X-Y/AutoDL-Projects, `search_model_gdas_nasnet.py`): weights before the architecture, each with
a sample of its own. Differs from that code: only the gradient of the weights is clipped, by its own norm; weights of
operations that are not sampled rest, without momentum and weight decay; the weight of a sampled one is 1 exactly.
The authors keep the search network of the best validation accuracy; here the last one counts, see `save_top_k` of
`SaveCheckpoints` to keep others. Their scripts clip the weights by 5 or not at all: 5 here (`optim.clip: 0`).

Formula:
    q = softmax((log p + G) / tau),    G: Gumbel noise,    p = softmax(alpha)
    y = sum over o of h_o o(x),    h = onehot(argmax q) - stop(q) + q, so that its gradient is that of q
"""

from functools import partial

from lit_nas.architecture import Architecture, Unselected
from lit_nas.derivation import Deriver, TopPairs, default_deriver
from lit_nas.edges import ConstantBeside, EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.optim import DartsSGD
from lit_nas.relaxations import GumbelSoftmax, Relaxation
from lit_nas.schedules import Linear
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("GDAS",)

PAPER = SearchOptim(partial(DartsSGD, weight_decay=5e-4, nesterov=True), schedule_every="step")
"""The numbers of the authors' configurations."""


class GDAS(ImageSearchModule):
    """Weights, then the architecture: each steps along the gradient of one sampled network.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched; `GDASSpace` is that of the paper, with a searched or a fixed reduction cell.
        relaxation: Hard samples, with the temperature over the search: from 10 in the first epoch to 0.1 in the last.
        constant_unselected: Whether the gradient takes an operation that was not sampled for one whose output is 1, as
            the authors do in NAS-Bench-201; otherwise, as in their other spaces, only the sampled one counts.
        optim: Both optimisers.
        deriver: How the architecture is made discrete; None takes the most probable operations of a node, which may be
            two of one edge (`TopPairs`), and in spaces that keep all edges the rule of the space.
        engine: What computes the cells.
        edges: What an edge makes of its candidates; the paper has their weighted sum. With `constant_unselected` it is
            that sum with the constant beside it, and nothing else.

    Raises:
        ValueError: if the relaxation does not sample one operation of each edge, or the edges are of another kind than
            `constant_unselected` needs.
    """

    paper_batch_size = 256

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        relaxation: Relaxation = GumbelSoftmax(Linear(10.0, 0.1, "epoch", inclusive=True), hard=True),
        constant_unselected: bool = False,
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        if not (isinstance(relaxation, GumbelSoftmax) and relaxation.hard):
            raise ValueError(
                f"GDAS samples one operation of each edge, but model.relaxation is {relaxation}: take GumbelSoftmax "
                "with hard true."
            )
        if constant_unselected and relaxation.probes:
            raise ValueError(
                "model.constant_unselected takes operations that are not sampled for a constant, but "
                "model.relaxation.gradient all computes them: set one of the two back."
            )
        if constant_unselected and not isinstance(edges, (PlainEdges, ConstantBeside)):
            raise ValueError(
                f"model.constant_unselected puts a constant beside the candidates of plain edges, but model.edges is "
                f"{type(edges).__name__}: set model.constant_unselected to false, or leave model.edges out."
            )
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, ConstantBeside() if constant_unselected else edges)
        beside = Unselected() if constant_unselected else None
        self.architecture = Architecture(space, relaxation, beside=beside, evaluation="best")
        if deriver is None:
            deriver = TopPairs(space.edges_per_node) if space.edges_per_node else default_deriver(space)
        self.deriver = deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Weights first, then the architecture."""
        self.step_levels(self.loss, batch, weights_first=True)
