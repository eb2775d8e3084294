"""MergeNAS: the convolutions of an edge share one kernel, so that an edge costs one convolution instead of four.

Paper: Wang et al., IJCAI 2020, https://doi.org/10.24963/ijcai.2020/424.
There is no official code; what the paper leaves open is decided as in later code of its first author
(vicFigure/EAutoDet): a kernel stands for one block of ReLU, convolution and BatchNorm (`edges.blocks: 2` for the two of
a separable convolution), its candidates share the depthwise and the pointwise kernel, and what is folded reads the
state after the ReLU. Pools and skip connections run beside the kernel; `edges.fold: true` folds those that are linear
into it. The sum of the weights of what is merged is multiplied in again behind BatchNorm, which would take it out
(`edges.rescale: false` leaves it out). Optimisation is not published; it is that of DARTS, first order.

Formula:
    merged = (sum over o of p_o) BN([sum over o of p_o (W masked by the window of o)] * relu(x)),    p = softmax(alpha)
    y = merged + sum over the other o of p_o o(x)
"""

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, default_deriver
from lit_nas.edges import MergedConvolutions
from lit_nas.engine import Engine, Fused
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("MergeNAS",)


class MergeNAS(ImageSearchModule):
    """DARTS whose edges merge their convolutions.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched.
        edges: What is merged.
        relaxation: How parameters become weights.
        optim: Both optimisers.
        deriver: How the architecture is made discrete; None is the rule of the space (`default_deriver`).
        engine: What computes the cells.

    Raises:
        ValueError: if the edges merge nothing, or the space has nothing that could be merged in this way.
    """

    paper_batch_size = 64

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        edges: MergedConvolutions = MergedConvolutions(),
        relaxation: Relaxation = Softmax(),
        optim: SearchOptim = SearchOptim(),
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
    ) -> None:
        super().__init__()
        if not isinstance(edges, MergedConvolutions):
            raise ValueError(
                f"model.edges of MergeNAS must be MergedConvolutions, not {type(edges).__name__}: choose DARTS for "
                "other edges, whose steps are the same."
            )
        self.spec, self.optim = spec, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        self.deriver = default_deriver(space) if deriver is None else deriver

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Both levels, by the first order."""
        self.step_levels(self.loss, batch)
