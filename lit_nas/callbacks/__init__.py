"""Callbacks: what a run logs and writes."""

from lit_nas.callbacks.alphas import LogAlphas
from lit_nas.callbacks.checkpoints import SaveCheckpoints, find_last
from lit_nas.callbacks.cost import MeasureCost
from lit_nas.callbacks.genotype import WriteGenotype
from lit_nas.callbacks.memory import ExplainMemory
from lit_nas.callbacks.predictions import WritePredictions
from lit_nas.callbacks.progress import ShowProgress, SummariseModel
from lit_nas.callbacks.prune import Prune
from lit_nas.callbacks.random_state import KeepRandomState
from lit_nas.callbacks.rates import LogLearningRates
from lit_nas.callbacks.results import ShowResults
from lit_nas.callbacks.settings import LogSettings
from lit_nas.callbacks.signals import StopOnSignal
from lit_nas.callbacks.table import QueryTable

__all__ = (
    "ExplainMemory",
    "KeepRandomState",
    "LogAlphas",
    "LogLearningRates",
    "LogSettings",
    "MeasureCost",
    "Prune",
    "QueryTable",
    "SaveCheckpoints",
    "ShowProgress",
    "ShowResults",
    "StopOnSignal",
    "SummariseModel",
    "WriteGenotype",
    "WritePredictions",
    "find_last",
)
