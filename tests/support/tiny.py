"""Every method at a size that takes seconds. Cross-cutting tests walk over `TINY`: list a new method here.

So do stand-ins, which show that a contract carries methods of its kind.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_nas.edges import MergedConvolutions
from lit_nas.methods import DARTS, DropNAS, EntmaxDARTS, MergeNAS
from lit_nas.optim import PartialDecay
from lit_nas.perturbation import AdversarialSmoothing, RandomSmoothing
from lit_nas.pruning import Pruning
from lit_nas.regularizers import CostFactor, Entropy, ExpectedCost, LogCost, MaxNorm, Regularizer, ZeroOne
from lit_nas.relaxations import Entmax, GroupedDropout
from lit_nas.schedules import Constant, Linear
from lit_nas.search import SearchModule, SearchOptim
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.support.hard_gumbel import HardGumbel

INPUTS = ImageSpec(channels=2, height=8, width=8, classes=3)
SPACE = DartsSpace(init_channels=2, num_cells=3, nodes=2)
# candidates that differ from edge to edge, in number as well
STAGED = DartsSpace(
    init_channels=2, num_cells=3, nodes=2,
    candidates={
        "normal": [
            ["skip_connect", "sep_conv_3x3"], ["max_pool_3x3", "avg_pool_3x3", "none"], ["dil_conv_5x5", "none"],
            ["sep_conv_5x5", "sep_conv_3x3", "dil_conv_3x3", "none"], ["avg_pool_3x3", "skip_connect"],
        ],
    },
)  # fmt: skip
# with running statistics, which the test of two processes needs: statistics of half a batch are other ones
NAS_BENCH_201 = NasBench201Space(init_channels=2, cells_per_stage=1, track_running_stats=True)
DROPOUT = GroupedDropout(Constant(0.3), Constant(0.2))

METHODS: dict[str, Callable[[], SearchModule]] = {
    "DARTS-first-order": lambda: DARTS(INPUTS, SPACE),
    "DARTS-second-order": lambda: DARTS(INPUTS, SPACE, order=2),
    "DARTS-second-order-exact": lambda: DARTS(INPUTS, SPACE, order=2, product="exact"),
    "DARTS-alternating": lambda: DARTS(INPUTS, SPACE, optim=SearchOptim(level="alternating")),
    "DARTS-staged": lambda: DARTS(INPUTS, STAGED),
    "DropNAS": lambda: DropNAS(INPUTS, SPACE, DROPOUT),
    "DropNAS-nas-bench-201": lambda: DropNAS(
        INPUTS, NAS_BENCH_201, DROPOUT, optim=SearchOptim(level="single", decay=PartialDecay(own_step=True))
    ),
    "EntmaxDARTS": lambda: EntmaxDARTS(INPUTS, SPACE, Entmax(8.0), Pruning(every="step")),
    "EntmaxDARTS-bilevel": lambda: EntmaxDARTS(INPUTS, SPACE, Entmax(6.0, start=1.0), optim=SearchOptim()),
    "DARTS-nas-bench-201": lambda: DARTS(INPUTS, NAS_BENCH_201),
    "EntmaxDARTS-nas-bench-201": lambda: EntmaxDARTS(INPUTS, NAS_BENCH_201, Entmax(5.0), Pruning(every="step")),
    "MergeNAS": lambda: MergeNAS(INPUTS, SPACE),
    # with channels enough for bfloat16, in which a whole edge is one convolution
    "MergeNAS-nas-bench-201": lambda: MergeNAS(
        INPUTS, replace(NAS_BENCH_201, init_channels=4), MergedConvolutions(fold=True)
    ),
}
STAND_INS: dict[str, Callable[[], SearchModule]] = {
    "hard-gumbel": lambda: HardGumbel(INPUTS, SPACE),
    "hard-gumbel-second-order": lambda: HardGumbel(INPUTS, SPACE, order=2, optim=SearchOptim(accumulate=2)),
    "hard-gumbel-single-level": lambda: HardGumbel(INPUTS, SPACE, per_cell=True, optim=SearchOptim(level="single")),
}
TINY = METHODS | STAND_INS
REPRESENTATIVES = (
    "DARTS-first-order",
    "DARTS-second-order",
    "DARTS-nas-bench-201",
    "DropNAS",
    "DropNAS-nas-bench-201",
    "EntmaxDARTS",
    "MergeNAS",
    "MergeNAS-nas-bench-201",
    "hard-gumbel",
)
"""One search of each method, order, space and kind of draw. Tests that take long run with these by default and with all
others as `slow`; list a new method here, too."""


def with_representatives() -> list[Any]:
    """Names of `TINY` for `parametrize`; all but the representatives are slow."""
    return [pytest.param(name, marks=() if name in REPRESENTATIVES else pytest.mark.slow) for name in TINY]


PARTS: tuple[Regularizer, ...] = (
    ZeroOne(Linear(0.0, 2.0)),
    Entropy(Constant(-0.01)),
    CostFactor(Constant(0.6), scale=0.5),
    MaxNorm(Linear(0.1, 0.0)),
    ExpectedCost(Constant(0.1), "multiply_adds"),
    LogCost(),
)
"""Every regulariser, one that multiplies the loss in the midst of them."""
SMOOTHED = SearchOptim(regularizers=PARTS, perturbation=AdversarialSmoothing(Linear(0.03, 0.3), steps=2))

VARIANTS: dict[str, Callable[[], SearchModule]] = {
    "smoothed": lambda: DARTS(INPUTS, SPACE, optim=SMOOTHED),
    "smoothed-at-random": lambda: DARTS(INPUTS, SPACE, optim=replace(SMOOTHED, perturbation=RandomSmoothing())),
    "regularised-second-order": lambda: DARTS(INPUTS, SPACE, 2, optim=SearchOptim(regularizers=PARTS)),
    "regularised-single-level": lambda: EntmaxDARTS(
        INPUTS, SPACE, Entmax(3.0), optim=SearchOptim(level="single", regularizers=PARTS)
    ),
}
"""Methods with parts that all of them may have: for the tests of these parts alone."""


def pair(seed: int, size: int = 6) -> tuple[Tensor, Tensor]:
    """Images and labels of the tiny shape."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, INPUTS.channels, INPUTS.height, INPUTS.width, generator=generator)
    return images, torch.randint(INPUTS.classes, (size,), generator=generator)
