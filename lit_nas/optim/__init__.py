"""Optimisers and schedules with the papers' numbers, second order, and holding a level still."""

from lit_nas.optim.freezing import frozen, frozen_statistics, running_statistics
from lit_nas.optim.paper_defaults import (
    CosineLR,
    DartsAdam,
    DartsImageNetSGD,
    DartsSGD,
    EpochDecayLR,
    OptimizerCallable,
    ParsecAdam,
    SchedulerCallable,
    SearchCosineLR,
    fit_to_run,
    is_spanning,
    make_part,
)
from lit_nas.optim.unrolled import accumulate, check_unrollable, unrolled_gradient, virtual_step

__all__ = (
    "CosineLR",
    "DartsAdam",
    "DartsImageNetSGD",
    "DartsSGD",
    "EpochDecayLR",
    "OptimizerCallable",
    "ParsecAdam",
    "SchedulerCallable",
    "SearchCosineLR",
    "accumulate",
    "check_unrollable",
    "fit_to_run",
    "frozen",
    "frozen_statistics",
    "is_spanning",
    "make_part",
    "running_statistics",
    "unrolled_gradient",
    "virtual_step",
)
