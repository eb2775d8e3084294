"""DARTS: differentiable architecture search, first and second order.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, algorithm 1.
Differs from the authors' code (quark0/darts): running statistics of BatchNorm see the forward pass of the weight step
only, so the extra passes of the architecture step do not distort them; the last, incomplete batch of an epoch is
dropped, so that all steps are of the same size.

Formula:
    y_j = sum over i < j, o of p_ij,o o(x_i),    p_ij = softmax(alpha_ij)
    alpha follows the gradient of L_val(w - xi grad_w L_train(w, alpha), alpha); xi = 0 in first order
"""

from typing import Literal

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

__all__ = ("DARTS",)


class DARTS(ImageSearchModule):
    """Weights are updated on one part of the training data, the architecture on the other.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        order: 1 takes the architecture's gradient at the present weights, 2 after one virtual step of theirs.
        product: How order 2 computes its Hessian-vector product: by finite differences, as in the paper, or exactly.
        optim: Both optimisers.
        deriver: How the architecture is made discrete; None is the rule of the space (`default_deriver`).
        engine: What computes the cells.
        relaxation: How parameters become weights; the paper has `Softmax`.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        order: Literal[1, 2] = 1,
        product: Literal["finite_difference", "exact"] = "finite_difference",
        optim: SearchOptim = SearchOptim(),
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        relaxation: Relaxation = Softmax(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        optim.check_order(order, product)
        self.spec, self.order, self.product = spec, order, product
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        self.deriver = default_deriver(space) if deriver is None else deriver
        self.optim = optim

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Architecture first, then weights, on the same batch of training data (algorithm 1)."""
        if self.order == 1:
            self.step_levels(self.loss, batch)
        else:
            parts = by_role(batch)
            validation = parts["arch" if self.optim.level == "bilevel" else "weights"]
            self.step_arch_unrolled(self.loss, validation, parts["weights"], self.product)
            self.step_weights(self.loss, parts["weights"])
