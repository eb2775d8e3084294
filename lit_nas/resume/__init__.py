"""Exact resume: checkpoints, random states, curves and signals of an interrupted run."""

from lit_nas.resume.checkpoints import SaveCheckpoints, find_last
from lit_nas.resume.curves import RewindCurves, RunLogger
from lit_nas.resume.random_state import KeepRandomState
from lit_nas.resume.signals import StopOnSignal

__all__ = ("KeepRandomState", "RewindCurves", "RunLogger", "SaveCheckpoints", "StopOnSignal", "find_last")
