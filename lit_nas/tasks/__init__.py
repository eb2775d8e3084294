"""Tasks: what networks for images say, how it is scored, and which layer says it."""

from lit_nas.tasks.classification import Classification
from lit_nas.tasks.multi_label import MultiLabel
from lit_nas.tasks.regression import Regression
from lit_nas.tasks.segmentation import Segmentation
from lit_nas.tasks.task import Task

__all__ = ("Classification", "MultiLabel", "Regression", "Segmentation", "Task")
