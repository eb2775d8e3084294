"""Callbacks: what a run logs and writes."""

from lit_nas.callbacks.confusion import confusion_of
from lit_nas.callbacks.correlate_operators import CorrelateOperators
from lit_nas.callbacks.defaults import default_callbacks
from lit_nas.callbacks.fill_dashboard import FillDashboard
from lit_nas.callbacks.group_operators import group_operators
from lit_nas.callbacks.keep_strongest import KeepStrongest
from lit_nas.callbacks.log_alphas import LogAlphas
from lit_nas.callbacks.log_learning_rates import LogLearningRates
from lit_nas.callbacks.log_settings import LogSettings
from lit_nas.callbacks.measure_confusion import MeasureConfusion
from lit_nas.callbacks.measure_cost import MeasureCost
from lit_nas.callbacks.out_of_memory import ExplainMemory
from lit_nas.callbacks.prune import Prune
from lit_nas.callbacks.query_table import QueryTable
from lit_nas.callbacks.show_progress import ShowProgress, SummariseModel
from lit_nas.callbacks.show_results import ShowResults
from lit_nas.callbacks.skip_dropout import SkipDropout
from lit_nas.callbacks.write_genotype import WriteGenotype
from lit_nas.callbacks.write_predictions import WritePredictions
from lit_nas.resume import KeepRandomState, SaveCheckpoints, StopOnSignal, find_last

__all__ = (
    "CorrelateOperators",
    "ExplainMemory",
    "FillDashboard",
    "KeepRandomState",
    "KeepStrongest",
    "LogAlphas",
    "LogLearningRates",
    "LogSettings",
    "MeasureConfusion",
    "MeasureCost",
    "Prune",
    "QueryTable",
    "SaveCheckpoints",
    "ShowProgress",
    "ShowResults",
    "SkipDropout",
    "StopOnSignal",
    "SummariseModel",
    "WriteGenotype",
    "WritePredictions",
    "confusion_of",
    "default_callbacks",
    "find_last",
    "group_operators",
)
