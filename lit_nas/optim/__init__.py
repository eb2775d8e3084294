"""Optimisers and schedules with the papers' numbers, second order, and holding a level still."""

from lit_nas.optim.freezing import frozen, frozen_statistics, running_statistics
from lit_nas.optim.paper_defaults import (
    CosineLR,
    DartsAdam,
    DartsImageNetSGD,
    DartsSGD,
    EpochDecayLR,
    OptimizerCallable,
    ProxylessAdam,
    ProxylessSGD,
    RestartedCosineLR,
    SchedulerCallable,
    SearchCosineLR,
    WarmUpCosineLR,
    fit_to_run,
    is_spanning,
    make_part,
)
from lit_nas.optim.reinforce import Baseline, Reinforce, score_gradient
from lit_nas.optim.unrolled import accumulate, check_unrollable, unrolled_gradient, virtual_step

__all__ = (
    "Baseline",
    "CosineLR",
    "DartsAdam",
    "DartsImageNetSGD",
    "DartsSGD",
    "EpochDecayLR",
    "OptimizerCallable",
    "ProxylessAdam",
    "ProxylessSGD",
    "Reinforce",
    "RestartedCosineLR",
    "SchedulerCallable",
    "SearchCosineLR",
    "WarmUpCosineLR",
    "accumulate",
    "check_unrollable",
    "fit_to_run",
    "frozen",
    "frozen_statistics",
    "is_spanning",
    "make_part",
    "running_statistics",
    "score_gradient",
    "unrolled_gradient",
    "virtual_step",
)
