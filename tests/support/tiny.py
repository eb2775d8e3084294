"""Every method at a size that takes seconds. Cross-cutting tests walk over `TINY`: list a new method here.

So do stand-ins, which show that a contract carries methods of its kind.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_nas.derivation import TopEdges
from lit_nas.edges import MergedConvolutions, PartialChannels, SharedDagConvs
from lit_nas.methods import (
    DARTS,
    GDAS,
    PARSEC,
    PCDARTS,
    PDARTS,
    SNAS,
    DropNAS,
    EntmaxDARTS,
    FaDE,
    MergeNAS,
    ProxylessNAS,
    StacNAS,
)
from lit_nas.methods.fade import PAPER as FADE_OPTIM
from lit_nas.methods.parsec import PAPER as PARSEC_OPTIM
from lit_nas.methods.proxylessnas import PAPER as PROXYLESS_OPTIM
from lit_nas.optim import PartialDecay, Reinforce
from lit_nas.perturbation import AdversarialSmoothing, RandomSmoothing
from lit_nas.pruning import Pruning
from lit_nas.regularizers import (
    CostFactor,
    CostTarget,
    Entropy,
    ExpectedCost,
    MaxNorm,
    Regularizer,
    ResourceCost,
    ZeroOne,
)
from lit_nas.relaxations import CategoricalPairs, Entmax, GroupedDropout, GumbelSoftmax
from lit_nas.schedules import Constant, Linear
from lit_nas.search import ImportanceSampling, SearchModule, SearchOptim
from lit_nas.spaces import DARTS_OPERATIONS, STACNAS_S1, DagSpace, DartsSpace, GDASSpace, MobileSpace, NasBench201Space
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
# without `none`, which a node that chooses its inputs does not need
CONNECTED = replace(SPACE, operations=DARTS_OPERATIONS[1:])
STAGED_CONNECTED = replace(
    CONNECTED,
    candidates={"normal": [[name for name in names if name != "none"] for names in STAGED.candidates["normal"]]},
)
# the second stage of StacNAS: members of the group of each edge, `none` last
SECOND_STAGE = DartsSpace(
    init_channels=2, num_cells=3, nodes=2, operations=(*STACNAS_S1.operations, "skip_connect_2", "none"),
    candidates={
        "normal": [
            ["skip_connect", "skip_connect_2", "none"], ["max_pool_3x3", "avg_pool_3x3", "none"],
            ["sep_conv_3x3", "sep_conv_5x5", "none"], ["dil_conv_3x3", "dil_conv_5x5", "none"],
            ["max_pool_3x3", "none"],
        ],
    },
)  # fmt: skip
# with running statistics, which the test of two processes needs: statistics of half a batch are other ones
NAS_BENCH_201 = NasBench201Space(init_channels=2, cells_per_stage=1, track_running_stats=True)
DROPOUT = GroupedDropout(Constant(0.3), Constant(0.2))

# blocks with and without a shortcut
MOBILE = MobileSpace(4, 4, (6, 8), (2, 1), (2, 1), 1, last_channels=8)
# rows with another number of candidates each
DAGS = DagSpace(
    widths=(2, 4, 3),
    rows=(
        ("dag1", "dag3_01_02_12"),
        ("dag2_01", "dag3_01_02", "dag4_01_02_03_12_13_23"),
        ("dag4_01_02_13_23", "dag1", "dag3_02_12"),
    ),
)
PROXYLESS = replace(PROXYLESS_OPTIM, arch_from_epoch=0)

THREE = ImportanceSampling(3, likelihood="mean", temperature=Constant(0.1))
"""Children that all count, in steps that are short."""

METHODS: dict[str, Callable[[], SearchModule]] = {
    "DARTS-first-order": lambda: DARTS(INPUTS, SPACE),
    "DARTS-second-order": lambda: DARTS(INPUTS, SPACE, order=2),
    "DARTS-second-order-exact": lambda: DARTS(INPUTS, SPACE, order=2, product="exact"),
    "DARTS-alternating": lambda: DARTS(INPUTS, SPACE, optim=SearchOptim(level="alternating")),
    "DARTS-staged": lambda: DARTS(INPUTS, STAGED),
    "DropNAS": lambda: DropNAS(INPUTS, SPACE, DROPOUT),
    "DropNAS-nas-bench-201": lambda: DropNAS(
        INPUTS,
        NAS_BENCH_201,
        GroupedDropout(Constant(0.95), Constant(0.9)),  # so that some weights are never used
        optim=SearchOptim(level="single", decay=PartialDecay(own_step=True)),
    ),
    "EntmaxDARTS": lambda: EntmaxDARTS(INPUTS, SPACE, Entmax(8.0), Pruning(every="step")),
    "EntmaxDARTS-bilevel": lambda: EntmaxDARTS(INPUTS, SPACE, Entmax(6.0, start=1.0), optim=SearchOptim()),
    "PARSEC": lambda: PARSEC(INPUTS, CONNECTED, sampling=THREE),
    "PARSEC-single-level": lambda: PARSEC(
        INPUTS,
        STAGED_CONNECTED,
        CategoricalPairs(temperature=Linear(2.0, 1.0)),
        THREE,
        replace(PARSEC_OPTIM, level="single"),
    ),
    "SNAS": lambda: SNAS(INPUTS, SPACE),
    "SNAS-bilevel": lambda: SNAS(INPUTS, SPACE, optim=SearchOptim(regularizers=(ResourceCost(estimator="score"),))),
    "PDARTS": lambda: PDARTS(INPUTS, SPACE, Linear(0.5, 0.1, "epoch"), keep=3, optim=SearchOptim(arch_clip=5.0)),
    "PDARTS-nas-bench-201": lambda: PDARTS(INPUTS, NAS_BENCH_201, Linear(0.5, 0.1), keep=3, optim=SearchOptim()),
    "StacNAS": lambda: StacNAS(INPUTS, SECOND_STAGE),
    "StacNAS-nas-bench-201": lambda: StacNAS(INPUTS, NAS_BENCH_201),
    "GDAS": lambda: GDAS(INPUTS, SPACE),
    "GDAS-single-level": lambda: GDAS(
        INPUTS, SPACE, GumbelSoftmax(Constant(2.0), hard=True, per_cell=True), optim=SearchOptim(level="single")
    ),
    "GDAS-frc": lambda: GDAS(INPUTS, GDASSpace(init_channels=4, nodes=2, fixed_reduction=True)),
    "PCDARTS": lambda: PCDARTS(INPUTS, SPACE, edges=PartialChannels(2), optim=SearchOptim()),
    "FaDE": lambda: FaDE(INPUTS, DAGS),
    "FaDE-shared": lambda: FaDE(
        INPUTS,
        DAGS,
        GumbelSoftmax(Constant(10.0), hard=True, initial_deviation=1.0),
        replace(FADE_OPTIM, clip_by="norm", regularizers=(MaxNorm(Linear(0.5, -0.5), (0.5, 1.0, 2.0), 10.0),)),
        edges=SharedDagConvs(),
    ),
    "DARTS-dags": lambda: DARTS(INPUTS, DAGS),
    "GDAS-dags": lambda: GDAS(INPUTS, DAGS),
    "DARTS-dags-shared": lambda: DARTS(INPUTS, DAGS, edges=SharedDagConvs()),
    "DARTS-nas-bench-201": lambda: DARTS(INPUTS, NAS_BENCH_201),
    "GDAS-nas-bench-201": lambda: GDAS(INPUTS, NAS_BENCH_201, constant_unselected=True),
    "PCDARTS-nas-bench-201": lambda: PCDARTS(INPUTS, NAS_BENCH_201, edges=PartialChannels(2), optim=SearchOptim()),
    "EntmaxDARTS-nas-bench-201": lambda: EntmaxDARTS(INPUTS, NAS_BENCH_201, Entmax(5.0), Pruning(every="step")),
    "PARSEC-nas-bench-201": lambda: PARSEC(INPUTS, NAS_BENCH_201, sampling=THREE),
    "SNAS-nas-bench-201": lambda: SNAS(INPUTS, NAS_BENCH_201),
    "ProxylessNAS": lambda: ProxylessNAS(INPUTS, SPACE, arch_every=1, optim=PROXYLESS),
    "ProxylessNAS-nas-bench-201": lambda: ProxylessNAS(INPUTS, NAS_BENCH_201, arch_every=1, optim=PROXYLESS),
    "MergeNAS": lambda: MergeNAS(INPUTS, SPACE),
    # with channels enough for bfloat16, in which a whole edge is one convolution
    "MergeNAS-nas-bench-201": lambda: MergeNAS(
        INPUTS, replace(NAS_BENCH_201, init_channels=4), MergedConvolutions(fold=True)
    ),
}
STAND_INS: dict[str, Callable[[], SearchModule]] = {
    "hard-gumbel-second-order": lambda: HardGumbel(INPUTS, SPACE, optim=SearchOptim(accumulate=2)),
}
TINY = METHODS | STAND_INS
REPRESENTATIVES = (
    "DARTS-first-order",
    "DARTS-second-order",
    "DARTS-nas-bench-201",
    "EntmaxDARTS",
    "PARSEC",
    "SNAS",
    "PDARTS",
    "ProxylessNAS",
    "DropNAS",
    "PCDARTS",
    "MergeNAS",
    "GDAS",
    "StacNAS",
    "FaDE",
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
    ResourceCost(estimator="expected"),
    CostTarget(target=900.0, of="expected", network="search", strength=Constant(0.1)),
)
"""Every regulariser, one that multiplies the loss in the midst of them."""
SMOOTHED = SearchOptim(regularizers=PARTS, perturbation=AdversarialSmoothing(Linear(0.03, 0.3), steps=2))

VARIANTS: dict[str, Callable[[], SearchModule]] = {
    "ProxylessNAS-all-paths": lambda: ProxylessNAS(INPUTS, SPACE, paths="all", arch_every=2, optim=PROXYLESS),
    "ProxylessNAS-single-level": lambda: ProxylessNAS(
        INPUTS, SPACE, arch_every=1, optim=replace(PROXYLESS, level="single")
    ),
    "DARTS-nas-bench-201": lambda: DARTS(INPUTS, NAS_BENCH_201),
    "EntmaxDARTS-nas-bench-201": lambda: EntmaxDARTS(INPUTS, NAS_BENCH_201, Entmax(5.0), Pruning(every="step")),
    "ProxylessNAS-mobile": lambda: ProxylessNAS(INPUTS, MOBILE, arch_every=1, optim=PROXYLESS),
    "ProxylessNAS-reinforce": lambda: ProxylessNAS(
        INPUTS, SPACE, "reinforce", arch_every=1, reinforce=Reinforce(3, 0.5, "parameters", 500.0), optim=PROXYLESS
    ),
    "ProxylessNAS-with-cost": lambda: ProxylessNAS(
        INPUTS, SPACE, arch_every=1, optim=replace(PROXYLESS, regularizers=(CostFactor(), ExpectedCost()), accumulate=2)
    ),
    "PCDARTS-random": lambda: PCDARTS(INPUTS, SPACE, edges=PartialChannels(2, "random"), optim=SearchOptim()),
    "smoothed": lambda: DARTS(INPUTS, SPACE, optim=SMOOTHED),
    "smoothed-at-random": lambda: DARTS(INPUTS, SPACE, optim=replace(SMOOTHED, perturbation=RandomSmoothing())),
    "regularised-second-order": lambda: DARTS(INPUTS, SPACE, 2, optim=SearchOptim(regularizers=PARTS)),
    "regularised-single-level": lambda: EntmaxDARTS(
        INPUTS,
        SPACE,
        Entmax(3.0),
        optim=SearchOptim(level="single", regularizers=PARTS),
        deriver=TopEdges(),  # finds a cell also where `none` is ahead everywhere
    ),
}
"""Methods with parts that all of them may have, and with options of their own: for the tests of these parts alone."""


def pair(seed: int, size: int = 6) -> tuple[Tensor, Tensor]:
    """Images and labels of the tiny shape."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, INPUTS.channels, INPUTS.height, INPUTS.width, generator=generator)
    return images, torch.randint(INPUTS.classes, (size,), generator=generator)
