"""The callbacks of every run, on the command line and in Python."""

from typing import Any

from pytorch_lightning import Callback, LightningModule

from lit_nas.callbacks.fill_dashboard import FillDashboard
from lit_nas.callbacks.log_alphas import LogAlphas
from lit_nas.callbacks.log_learning_rates import LogLearningRates
from lit_nas.callbacks.log_settings import LogSettings
from lit_nas.callbacks.measure_cost import MeasureCost
from lit_nas.callbacks.out_of_memory import ExplainMemory
from lit_nas.callbacks.show_results import ShowResults
from lit_nas.callbacks.write_genotype import WriteGenotype
from lit_nas.resume import KeepRandomState, RewindCurves, SaveCheckpoints, StopOnSignal
from lit_nas.search import SearchModule

__all__ = ("default_callbacks",)


def default_callbacks(module: LightningModule, configuration: dict[str, Any] | None = None) -> list[Callback]:
    """What a run gets unless its configuration lists a callback of the same class.

    Args:
        module: What is fitted.
        configuration: The resolved configuration for the loggers; None leaves it to what the Trainer knows.
    """
    callbacks: list[Callback] = [KeepRandomState(), MeasureCost(), RewindCurves(), ExplainMemory()]
    callbacks += [LogLearningRates(), LogSettings(configuration), ShowResults()]
    if isinstance(module, SearchModule):
        callbacks += [LogAlphas(), WriteGenotype()]
    return [*callbacks, FillDashboard(), SaveCheckpoints(), StopOnSignal()]
