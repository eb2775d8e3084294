"""ProxylessNAS: one path of the search network at a time, by binary gates or by REINFORCE.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332. Read with the authors' code
(mit-han-lab/proxylessnas, 80c1c37, `search/nas_manager.py`), whose order of steps this is. Latency joins as a
regulariser (`ExpectedCost`, `CostFactor`), or as a part of the reward.
Differs from the code: validation normalises by running statistics, not by those of the batch; an edge that draws no
connection is updated like the others (see `BinaryGates`); with `reinforce` the architecture is updated after every n-th
step, too, where the code spreads 300 updates over an epoch (n = 16 with batches of 256 on ImageNet). In the cells of
DARTS and NAS-Bench-201, which the paper does not search, cells of a type share their gates, and derivation is that of
the space. Defaults are those of the paper on CIFAR-10, for which there is no code: Adam with lr 6e-3, no warm-up.

Formula:
    g = onehot(o), o drawn by p = softmax(alpha),    y = sum over o of g_o o(x)
    dL/dalpha_i = sum over j of dL/dg_j p_j (delta_ij - p_i)
"""

from functools import partial
from typing import Literal

from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.batches import by_role
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.image_batches import ImageBatch
from lit_nas.networks import build_search_network
from lit_nas.optim import Baseline, CosineLR, DartsAdam, DartsSGD, Reinforce
from lit_nas.precision import widest_float
from lit_nas.relaxations import BinaryGates
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec
from lit_nas.tasks import Classification

__all__ = ("ProxylessNAS",)

PAPER = SearchOptim(
    weights=partial(DartsSGD, weight_decay=4e-5, nesterov=True),
    arch=partial(DartsAdam, lr=6e-3, betas=(0.0, 0.999), weight_decay=0.0),
    schedule=CosineLR,
    schedule_every="step",
    clip=0.0,
    arch_from_epoch=1,
)
"""On CIFAR. Without momentum a candidate that is not drawn stays where it is; the first epoch updates the weights only,
as the one after the warm-up does in the authors' code."""


class ProxylessNAS(ImageSearchModule):
    """The weights of one drawn path are updated, and every few steps the architecture, by the gates of a few paths.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        gradient: Where the architecture's gradient comes from: the binary gates, or the rewards of drawn networks.
        paths: Whose gates an architecture step knows: those of two drawn candidates (the paper), or of all of them (the
            default of the authors' code), computed one after the other. For `gates` alone.
        arch_every: The architecture is updated after every n-th step of an epoch, or after the last one of a shorter
            epoch.
        label_smoothing: Part of the target that is spread over all classes where the weights are updated; 0.1 on
            ImageNet.
        reinforce: How drawn networks are rewarded. For `reinforce` alone.
        optim: Both optimisers; the paper does not clip. Before epoch `arch_from_epoch` the weights warm up.
        deriver: How the architecture is made discrete; None is the rule of the space (`default_deriver`).
        engine: What computes the cells.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        gradient: Literal["gates", "reinforce"] = "gates",
        paths: Literal["two", "all"] = "two",
        arch_every: int = 5,
        label_smoothing: float = 0.0,
        reinforce: Reinforce = Reinforce(),
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"model.label_smoothing must be in [0, 1), but is {label_smoothing}.")
        if label_smoothing and optim.level == "single":
            raise ValueError(
                "model.label_smoothing smooths the targets of the weights alone, but both levels follow one loss with "
                "model.optim.level single: set it to 0, or choose another level."
            )
        if label_smoothing and not spec.task.smooths_labels:
            raise ValueError(
                f"model.label_smoothing is {label_smoothing}, but the targets of {type(spec.task).__name__} "
                "(spec.task) are no classes to be smoothed: set it to 0."
            )
        if gradient == "reinforce" and not isinstance(spec.task, Classification):
            raise ValueError(
                f"model.gradient reinforce rewards accuracy, which {type(spec.task).__name__} (spec.task) does not "
                "have: set it to gates."
            )
        self.label_smoothing, self.differentiates_mixture = label_smoothing, gradient == "gates"
        self._check_choice(gradient, paths, arch_every, reinforce, optim)
        self.spec, self.optim, self.arch_every, self.reinforce = spec, optim, arch_every, reinforce
        self.network = build_search_network(space, spec, engine, edges)
        gates = BinaryGates(paths if gradient == "gates" else "one")
        self.architecture = Architecture(space, gates, evaluation="best")
        self.baseline = Baseline(reinforce.decay) if gradient == "reinforce" else None
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Weights first; after every n-th of these steps the architecture, with new gates."""
        parts, level = by_role(batch), self.optim.level
        due = (batch_idx + 1) % min(self.arch_every, self.trainer.num_training_batches) == 0
        if due and level == "single" and self.arch_moves:
            self.step_both(self.loss, parts["weights"])
            return
        self.step_weights(self.smoothed_loss, parts["weights"])
        if due and self.arch_moves:
            data = parts["arch" if level == "bilevel" else "weights"]
            if self.baseline is None:
                self.step_arch(self.loss, data)
            else:
                self.step_by_rewards(data, self.baseline)

    def smoothed_loss(self, batch: ImageBatch) -> Tensor:
        """Mean loss by which the weights are updated, with smoothed targets if asked for."""
        if not self.label_smoothing:
            return self.loss(batch)
        images, labels = batch
        return self.spec.task.loss(self(images), labels, self.label_smoothing)

    def step_by_rewards(self, batch: ImageBatch, baseline: Baseline) -> None:
        """One step of the architecture along the mean of (reward - baseline) * gradient of log p(network).

        Args:
            batch: All networks are scored on it, by the statistics of the batch.
            baseline: What rewards are compared with; it is updated.
        """
        count, measure = self.reinforce.samples, self.reinforce.measure
        accuracies = self.samples.means("arch", self._accuracy, batch, count)
        costs = None if measure is None else self.samples.costs("arch", measure, count)
        rewards = self.reinforce.rewards(accuracies, costs)
        self.apply_arch_gradient(self.samples.score("arch", baseline(rewards) / count), reduced=True)
        self.note_loss("arch", -rewards.mean(), batch)

    @property
    def measures(self) -> tuple[str, ...]:
        """That of the rewards, if they have one."""
        return () if self.reinforce.measure is None else (self.reinforce.measure,)

    def _accuracy(self, batch: ImageBatch) -> Tensor:
        images, labels = batch
        return (self(images).argmax(-1) == labels).to(widest_float(self.device)).mean()

    @staticmethod
    def _check_choice(gradient: str, paths: str, arch_every: int, reinforce: Reinforce, optim: SearchOptim) -> None:
        if gradient not in ("gates", "reinforce"):
            raise ValueError(f"model.gradient must be gates or reinforce, not {gradient!r}.")
        if paths not in ("two", "all"):
            raise ValueError(f"model.paths must be two or all, not {paths!r}.")
        if arch_every < 1:
            raise ValueError(f"model.arch_every must be at least 1, not {arch_every}.")
        if gradient == "gates" and reinforce != Reinforce():
            raise ValueError("model.reinforce rewards networks, but model.gradient is gates: set it to reinforce.")
        if gradient == "gates":
            return
        if paths != "two":
            raise ValueError(f"model.paths is {paths}, but reinforce draws one path: leave model.paths out.")
        if optim.level == "single":
            raise ValueError(
                "Rewards have no gradient that both levels could share: set model.optim.level to bilevel or "
                "alternating."
            )
        if factors := [type(part).__name__ for part in optim.regularizers if part.takes_loss]:
            raise ValueError(
                f"{factors[0]} multiplies a loss, but model.gradient reinforce has none: choose ExpectedCost, or "
                "model.reinforce.measure."
            )
