"""Trackers: what dashboards show beside scalars, by one interface with an adapter for each logger."""

from lit_nas.trackers.csv_tracker import CsvTracker, RunFolderTracker
from lit_nas.trackers.held_points import HeldPoints
from lit_nas.trackers.identity import RunIdentity, identify
from lit_nas.trackers.mlflow_tracker import MLFlowTracker, ResumableMLFlowLogger
from lit_nas.trackers.registry import find_tracker, register_tracker, tracker_of
from lit_nas.trackers.shown import Chart, Kept, Picture, is_due
from lit_nas.trackers.tensorboard_tracker import ResumableTensorBoardLogger, TensorBoardTracker
from lit_nas.trackers.tracker import Tracker
from lit_nas.trackers.wandb_tracker import ResumableWandbLogger, WandbTracker

__all__ = (
    "Chart",
    "CsvTracker",
    "HeldPoints",
    "Kept",
    "MLFlowTracker",
    "Picture",
    "ResumableMLFlowLogger",
    "ResumableTensorBoardLogger",
    "ResumableWandbLogger",
    "RunFolderTracker",
    "RunIdentity",
    "TensorBoardTracker",
    "Tracker",
    "WandbTracker",
    "find_tracker",
    "identify",
    "is_due",
    "register_tracker",
    "tracker_of",
)
