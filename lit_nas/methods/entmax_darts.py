"""Sparse search: alpha-entmax instead of softmax, pruning of what is exactly zero, one level.

Paper: Bezirganyan, Akarmazyan, "Improving differentiable NAS with sparse connections and model pruning", 2022,
https://doi.org/10.54503/2579-2903-2022.1-203.
What the paper leaves open: candidates are pruned after each epoch (`pruning.every: step` for the other reading); both
levels are updated along the same gradient (`optim.level: alternating` for the other reading), on all training images;
where an edge ends with several operations the most probable one stays; a node without inputs leaves the output.

Formula:
    p = argmax over q in the simplex of q . alpha + H_a(q),    H_a: Tsallis entropy
    p_o = [(a - 1) alpha_o - tau]_+ ^ (1 / (a - 1)), tau such that they sum to 1
"""

from typing import Any

from lit_nas.architecture import Architecture
from lit_nas.callbacks import Prune
from lit_nas.derivation import ArgmaxPerEdge, Deriver
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.pruning import Pruning
from lit_nas.relaxations import Entmax, Relaxation
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("EntmaxDARTS",)


class EntmaxDARTS(ImageSearchModule):
    """The search network becomes the final one while its candidates die out.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        relaxation: How parameters become weights; the paper has `Entmax` with alpha 2 and 3.
        pruning: What is pruned; None keeps every candidate.
        optim: Both optimisers.
        deriver: How the architecture is made discrete: no limit on edges, and `none` competes.
        engine: What computes the cells.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        relaxation: Relaxation = Entmax(),
        pruning: Pruning | None = Pruning(),
        optim: SearchOptim = SearchOptim(level="single"),
        deriver: Deriver = ArgmaxPerEdge(),
        engine: Engine = Fused(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.spec, self.pruning, self.optim, self.deriver = spec, pruning, optim, deriver
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)

    def configure_callbacks(self) -> list[Any]:
        """Adds the pruning."""
        return [*super().configure_callbacks(), *([Prune(self.pruning)] if self.pruning else [])]

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Both levels, by the first order."""
        self.step_levels(self.loss, batch)
