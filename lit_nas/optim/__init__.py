"""Optimisers and schedules with the papers' numbers, second order, and holding a level still."""

from lit_nas.optim.averaged_sgd import AveragedSGD, non_monotone
from lit_nas.optim.clipping import ClipBy, check_clipping, clip_gradients
from lit_nas.optim.cosine_power import CosinePowerLR
from lit_nas.optim.freezing import frozen, frozen_statistics, running_statistics
from lit_nas.optim.gradient_confusion import Confusion, GradientConfusion, gradient_confusion
from lit_nas.optim.learning_rates import (
    CosineLR,
    EpochDecayLR,
    RampedCosineLR,
    RestartedCosineLR,
    SchedulerCallable,
    SearchCosineLR,
    WarmUpCosineLR,
    WarmUpLinearLR,
    fit_to_run,
    is_spanning,
)
from lit_nas.optim.paper_defaults import DartsAdam, DartsSGD, OptimizerCallable, make_part
from lit_nas.optim.partial_decay import PartialDecay
from lit_nas.optim.reinforce import Baseline, Reinforce
from lit_nas.optim.unrolled import accumulate, check_unrollable, unrolled_gradient, virtual_step

__all__ = (
    "AveragedSGD",
    "Baseline",
    "ClipBy",
    "Confusion",
    "CosineLR",
    "CosinePowerLR",
    "DartsAdam",
    "DartsSGD",
    "EpochDecayLR",
    "GradientConfusion",
    "OptimizerCallable",
    "PartialDecay",
    "RampedCosineLR",
    "Reinforce",
    "RestartedCosineLR",
    "SchedulerCallable",
    "SearchCosineLR",
    "WarmUpCosineLR",
    "WarmUpLinearLR",
    "accumulate",
    "check_clipping",
    "check_unrollable",
    "clip_gradients",
    "fit_to_run",
    "frozen",
    "frozen_statistics",
    "gradient_confusion",
    "is_spanning",
    "make_part",
    "non_monotone",
    "running_statistics",
    "unrolled_gradient",
    "virtual_step",
)
