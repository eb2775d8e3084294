"""PC-DARTS: candidates see a part of the channels, and edges have weights of their own.

Paper: Xu et al., "PC-DARTS: partial channel connections for memory-efficient architecture search", ICLR 2020,
https://arxiv.org/abs/1907.05737.
As the authors' code (yuhuixu1993/PC-DARTS, commit 3c75598 of `model_search.py`), where it differs from the paper: the
part is the first one and a shuffle follows it (`edges.choice: random` is the mask of the paper). Differs from that
code: maps of odd size are pooled beside a reduction, too; on ImageNet a candidate is evaluated once a step.

Formula:
    f_ij(x) = concat(sum over o of softmax(alpha_ij)_o o(S x), (1 - S) x),    S: 1/K of the channels
    y_j = sum over i < j of softmax(beta_j)_i f_ij(x_i)
"""

from functools import partial

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.edges import EdgeKind, PartialChannels
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.optim import CosineLR, DartsAdam, DartsSGD
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("PCDARTS",)

PAPER = SearchOptim(partial(DartsSGD, lr=0.1), partial(DartsAdam, lr=6e-4), CosineLR, arch_from_epoch=15)
"""On CIFAR (section 4.2): in the first 15 of 50 epochs only the weights are updated."""


class PCDARTS(ImageSearchModule):
    """First-order DARTS on 1/K of the channels, with edges that are normalised and derived by alpha times beta.

    With `edges.k: 1` and without `edge_relaxation` it is DARTS, step by step.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        relaxation: How alpha becomes weights of operations; any one will do, `Entmax` for example.
        edge_relaxation: How beta becomes weights of the edges that lead to a node; None has no such weights.
        edges: Which channels the candidates see.
        optim: Both optimisers; alpha and beta rest for 15 epochs, in which they are used as they are.
        deriver: How the architecture is made discrete, by alpha times beta; None is the rule of the space.
        engine: What computes the cells.
    """

    paper_batch_size = 256

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        relaxation: Relaxation = Softmax(),
        edge_relaxation: Relaxation | None = Softmax(),
        edges: EdgeKind = PartialChannels(),
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation, edge_relaxation)
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Alpha and beta first, then weights (algorithm 1 of DARTS)."""
        self.step_levels(self.loss, batch)
