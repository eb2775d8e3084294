"""DARTS for recurrent cells: language models whose cell is searched, first and second order.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, section 3.1.2 and appendix A.
Differs from the authors' code (quark0/darts, rnn/): the implicit term of the second order is multiplied by
min(1, clip / norm), not by a quotient that may be above 1 (`unrolled_gradient`); all passes over one window in an
update have the same masks (`passes: independent` has the code's, each with its own); the BatchNorm of the cell
normalises by the batch in evaluation, too (`RecurrentSpace.track_running_stats` has the code's running statistics);
passes over the text have equally many windows (`RandomWindows`); a loss that is not finite ends the run. The learning
rate is multiplied by the length that was drawn for a window over the usual one, also where the end of the text cuts
the window, as in the code.

Formula:
    s_i = sum over j < i, k of p_ij,k (s_j + sigma(c_ij) (act_k(h_ij) - s_j)),    (c_ij, h_ij) = (s_j m) W_i
    p_ij = softmax(alpha_ij), with `none`; alpha follows the gradient of L_val(w', alpha)
    w' = w - xi (kappa grad_w L_train(w, alpha) + decay w), kappa = min(1, clip / norm); w' = w in first order
"""

from functools import partial
from typing import Literal

from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.engine import Reference
from lit_nas.language import ActivationPenalty, LanguageDropout
from lit_nas.networks import build_search_network
from lit_nas.optim import DartsAdam
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import SearchBatch, SearchOptim, TextSearchModule
from lit_nas.spaces import RecurrentSpace
from lit_nas.specs import TextSpec

__all__ = ("RecurrentDARTS",)

PAPER = SearchOptim(
    weights=partial(SGD, lr=20.0, weight_decay=5e-7),
    arch=partial(DartsAdam, lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3),
    schedule=partial(ConstantLR, factor=1.0),
    clip=0.25,
)
"""Both optimisers on Penn Treebank."""


class RecurrentDARTS(TextSearchModule):
    """Weights are updated on the training text, the architecture on the validation text.

    Args:
        spec: The vocabulary; flows in from the data on the command line.
        space: What is searched.
        order: 1 takes the architecture's gradient at the present weights, 2 after one virtual step of theirs, in which
            gradients are clipped as in a real one.
        product: How order 2 computes its Hessian-vector product: by finite differences, as in the paper, or exactly.
        optim: Both optimisers.
        dropout: What is dropped in training.
        penalty: Of the hidden states, in the step of the weights.
        deriver: How the architecture is made discrete; None is the rule of the space: the strongest edge of each node.
        relaxation: How parameters become weights; the paper has `Softmax`.
        passes: Whether all passes of an update over a window share their masks (`shared`) or not (`independent`).
    """

    paper_batch_size = 256

    def __init__(
        self,
        spec: TextSpec = TextSpec(),
        space: RecurrentSpace = RecurrentSpace(),
        order: Literal[1, 2] = 1,
        product: Literal["finite_difference", "exact"] = "finite_difference",
        optim: SearchOptim = PAPER,
        dropout: LanguageDropout = LanguageDropout(),
        penalty: ActivationPenalty = ActivationPenalty(),
        deriver: Deriver | None = None,
        relaxation: Relaxation = Softmax(),
        passes: Literal["shared", "independent"] = "shared",
    ) -> None:
        super().__init__()
        optim.check_order(order, product)
        if order == 2 and optim.clip_by != "norm":
            raise ValueError(
                f"model.optim.clip_by is {optim.clip_by}, but the virtual step of order 2 clips norms: set it to norm."
            )
        if passes not in ("shared", "independent"):
            raise ValueError(f"model.passes must be shared or independent, not {passes!r}.")
        self.spec, self.order, self.product, self.passes = spec, order, product, passes
        self.network = build_search_network(space, spec, Reference())
        self.architecture = Architecture(space, relaxation)
        self.deriver = default_deriver(space) if deriver is None else deriver
        self.optim, self.dropout, self.penalty = optim, dropout, penalty

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Architecture first, then weights, on the same window of training text (algorithm 1)."""
        with self.reading(batch) as windows:
            training, validation = windows["weights"], windows.get("arch", windows["weights"])
            if self.optim.level == "single":
                self.step_both(self.penalised_loss, training)
                return
            if self.order == 1:
                self.step_arch(self.language_loss, validation)
            else:
                clip = self.optim.clip
                self.step_arch_unrolled(self.language_loss, validation, training, self.product, clip)
            self.step_weights(self.penalised_loss, training)
