"""P-DARTS: progressive DARTS, one of its stages. The job `configs/job/p_darts.yaml` has all of them.

Paper: Chen, Xie, Wu, Tian, ICCV 2019, https://arxiv.org/abs/1904.12760.
Of the authors' code (chenxin061/pdarts, train_search.py) are the decay of the dropout, which starts again when the
architecture is first updated (`LinearThenExponential`; the paper speaks of a gradual decay, for which `Exponential`
stands), the dropout of single elements, the clipping of the architecture's gradient, and the loop that limits skip
connections.
Differs from it: as in `DARTS`, running statistics of BatchNorm see the weight step only and the last, incomplete batch
of an epoch is dropped; of equally probable operations of an edge the first one is derived, not the last one.

Formula:
    y = sum over o in O_s of softmax(alpha)_o o(x) in stage s, with skip(x) = dropout(x, rate_s(epoch))
    O_{s+1} = the strongest candidates of O_s, on each edge; networks of later stages are deeper
"""

from functools import partial
from typing import Any

from lit_nas.architecture import Architecture
from lit_nas.callbacks import KeepStrongest, SkipDropout
from lit_nas.derivation import Deriver, LimitedSkips
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.internals import callbacks_of
from lit_nas.networks import build_search_network
from lit_nas.optim import CosineLR, DartsAdam
from lit_nas.relaxations import Relaxation, Softmax
from lit_nas.schedules import Schedule
from lit_nas.search import ImageSearchModule, SearchBatch, SearchOptim, drop_skips
from lit_nas.spaces import DartsSpace, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = ("PDARTS",)

PAPER = SearchOptim(schedule=CosineLR, arch=partial(DartsAdam, lr=6e-4), arch_from_epoch=10, arch_clip=5.0)
"""Of each stage: 25 epochs, in the first ten of which only the weights are updated."""


class PDARTS(ImageSearchModule):
    """First-order DARTS in a network whose skip connections are hindered by dropout.

    Args:
        spec: Images and labels; flows in from the data on the command line.
        space: What is searched; the paper has 5, 11 and 17 cells in its stages, and as `candidates` what the stage
            before has left.
        skip_dropout: Rate of the dropout after skip connections of stride 1; None drops nothing.
        keep: How many candidates of each edge the next stage searches, 5 and 3 in the paper: the others are pruned
            after the last epoch. None, as in the last stage, keeps all.
        optim: Both optimisers.
        deriver: How the architecture is made discrete; None is the rule of the space, with at most two skip connections
            in a normal cell.
        engine: What computes the cells.
        relaxation: How parameters become weights; the paper has `Softmax`.
        edges: What an edge makes of its candidates; the paper has their weighted sum.
    """

    paper_batch_size = 96

    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(num_cells=5),
        skip_dropout: Schedule | None = None,
        keep: int | None = None,
        optim: SearchOptim = PAPER,
        deriver: Deriver | None = None,
        engine: Engine = Fused(),
        relaxation: Relaxation = Softmax(),
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        if keep is not None and keep < 1:
            raise ValueError(f"model.keep must be at least 1 or null, not {keep}.")
        self.spec, self.skip_dropout, self.keep, self.optim = spec, skip_dropout, keep, optim
        self.network = build_search_network(space, spec, engine, edges)
        self.architecture = Architecture(space, relaxation)
        self.deriver = LimitedSkips() if deriver is None else deriver
        if skip_dropout is not None:
            drop_skips(self.network, self.architecture, skip_dropout)

    def configure_callbacks(self) -> list[Any]:
        """Adds the checks and the log of the dropout, and what is kept for the next stage.

        Raises:
            ValueError: if the Trainer has another dropout of skip connections.
        """
        others = [each for each in callbacks_of(self.trainer) if isinstance(each, SkipDropout)]
        if self.skip_dropout is not None and any(each.rate != self.skip_dropout for each in others):
            raise ValueError(
                "Both model.skip_dropout and the callback SkipDropout (trainer.callbacks) set the dropout after skip "
                "connections: leave one of them out."
            )
        dropout = [] if self.skip_dropout is None else [SkipDropout(self.skip_dropout)]
        return [*super().configure_callbacks(), *dropout, *([] if self.keep is None else [KeepStrongest(self.keep)])]

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """Architecture first, then weights, as in DARTS; before `optim.arch_from_epoch` the weights alone."""
        self.step_levels(self.loss, batch)
