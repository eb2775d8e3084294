"""Which tracker serves a logger."""

from pytorch_lightning.loggers.logger import Logger

from lit_nas.trackers.csv_tracker import CsvTracker, RunFolderTracker
from lit_nas.trackers.mlflow_tracker import MLFlowTracker
from lit_nas.trackers.tensorboard_tracker import TensorBoardTracker
from lit_nas.trackers.tracker import Tracker
from lit_nas.trackers.wandb_tracker import WandbTracker

__all__ = ("find_tracker", "register_tracker", "tracker_of")

_TRACKERS: list[type[Tracker]] = [WandbTracker, TensorBoardTracker, MLFlowTracker, RunFolderTracker, CsvTracker]


def register_tracker(tracker: type[Tracker]) -> None:
    """Adds an adapter for a logger of your own; it wins over those for the classes that this logger extends.

    Args:
        tracker: The adapter.

    Raises:
        TypeError: if it is no final subclass of `Tracker`.
    """
    if not (isinstance(tracker, type) and issubclass(tracker, Tracker)) or tracker.__abstractmethods__:
        raise TypeError(f"register_tracker needs a class that implements all of Tracker, not {tracker!r}.")
    _TRACKERS.insert(0, tracker)


def find_tracker(logger: type) -> type[Tracker] | None:
    """The adapter for a class of loggers; None if it is handed scalars only.

    Args:
        logger: The class.
    """
    return next((tracker for tracker in _TRACKERS if issubclass(logger, tracker.serves())), None)


def tracker_of(logger: Logger) -> Tracker | None:
    """The tracker of a logger; None if it is handed scalars only.

    Args:
        logger: The logger.
    """
    found = find_tracker(type(logger))
    return None if found is None else found(logger)
