"""PARSEC: probabilistic architecture search, a prior over networks that is fitted by empirical Bayes.

Paper: Casale, Gordon, Fusi, 2019, https://arxiv.org/abs/1902.05116; there is no code. Yan et al., CVPR 2021,
https://arxiv.org/abs/2011.10949 (FP-NAS) describe it and add the adaptive number of samples and the cost.
What the papers leave open, or disagree on: prior and weights are fitted on a half of the training data each, as in
FP-NAS (`optim.level: alternating` or `single`: on the same data, as in PARSEC); the optimiser of the prior; children
have no `none`, and may draw a pair of input and operation twice; the prior can be annealed by its temperature
(`prior.temperature`), and the likelihood by another one (`sampling.temperature`), neither of which is by default.
Transfer: give the next search the parameters of this one, whose layout depends on cells and operations alone.

Formula:
    children a_k drawn from p(a | pi),    omega_k = softmax over k of log p(batch | a_k, w)
    w follows the gradient of -sum over k of omega_k log p(batch | a_k, w)
    pi follows the gradient of -sum over k of omega_k log p(a_k | pi)
"""

from functools import partial

from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.batches import Batch, by_role
from lit_nas.derivation import Deriver, EveryChoice, default_deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.optim import DartsAdam
from lit_nas.relaxations import Categorical, CategoricalPairs, Relaxation, Updates
from lit_nas.search import ImageSearchModule, ImportanceSampling, SearchBatch, SearchOptim
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("PARSEC",)

PAPER = SearchOptim(arch=partial(DartsAdam, lr=3e-3, weight_decay=0.0))
"""The paper does not print the optimiser of the prior: this one is ours."""


class PARSEC(ImageSearchModule):
    """Children are drawn from the prior; both levels follow the gradient of the marginal likelihood.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        prior: Where children are drawn from; None draws inputs and operations where nodes choose their inputs, and one
            operation for each edge elsewhere.
        sampling: How many children there are, and how they are weighed.
        optim: Both optimisers.
        deriver: How the prior is made discrete; None is its mode.
        engine: What computes the cells.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 64
    differentiates_mixture = False

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(operations=DARTS_OPERATIONS[1:]),
        prior: Relaxation | None = None,
        sampling: ImportanceSampling = ImportanceSampling(),
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        if prior is None:
            prior = Categorical() if space.edges_per_node is None else CategoricalPairs(space.edges_per_node)
        if not isinstance(prior, (Categorical, CategoricalPairs)):
            raise ValueError(
                f"model.prior must be Categorical, CategoricalPairs or null, not {type(prior).__name__}: the gradient "
                "of PARSEC is that of the probability of whole children."
            )
        if optim.perturbation is not None:
            raise ValueError(
                "Children of PARSEC have no mixing weights to disturb: leave model.optim.perturbation out."
            )
        if optim.graphs:
            raise ValueError("A CUDA graph cannot draw other children in each step: set model.optim.graphs to false.")
        self.spec, self.sampling, self.optim = spec, sampling, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, prior, evaluation="best")
        pairs = isinstance(prior, CategoricalPairs)
        self.deriver = deriver or (EveryChoice() if pairs else default_deriver(space))

    @property
    def measures(self) -> tuple[str, ...]:
        """That of the children, if it counts."""
        return (self.sampling.cost,) if self.sampling.looks_at_cost else ()

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Updates the prior and the weights by the posterior of the children; of the same ones at a single level."""
        parts = by_role(batch)
        if self.optim.level == "single":
            losses, shares = self._posterior("both", parts["weights"])
            gradient = self.samples.score("both", shares)
            self.step_samples(self.loss, parts["weights"], self.sampling.kept(shares), "both")
            if self.arch_moves:
                self.apply_arch_gradient(gradient, reduced=True, loss=shares.to(losses) @ losses)
            return
        if self.arch_moves:
            own = parts["arch" if self.optim.level == "bilevel" else "weights"]
            losses, shares = self._posterior("arch", own)
            self.step_prior(self.samples.score("arch", shares), shares.to(losses) @ losses, own)
        _, shares = self._posterior("weights", parts["weights"])
        self.step_samples(self.loss, parts["weights"], self.sampling.kept(shares))

    def _posterior(self, updates: Updates, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and importance weight of each child, [K] both."""
        sampling, clock = self.sampling, self.architecture.clock
        entropy = sum(self.architecture.entropy().values())
        count = sampling.count(entropy)
        losses = self.samples.means(updates, self.loss, batch, count)
        costs = self.samples.costs(updates, sampling.cost, count) if sampling.looks_at_cost else None
        shares = sampling.shares(losses, self.size(batch) * self.trainer.world_size, clock, costs)
        if updates != "weights":
            self.loss_log.step({"arch/effective_samples": shares.square().sum().reciprocal(), "arch/entropy": entropy})
        return losses, shares
