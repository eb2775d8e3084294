"""Means that a search logs."""

from collections.abc import Iterable
from typing import cast

from torch import nn
from torchmetrics import MeanMetric

__all__ = ("Means",)


class Means(nn.ModuleDict):
    """Means by name.

    Args:
        names: What they are called.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__({name: MeanMetric(nan_strategy="disable") for name in names})

    def __getitem__(self, key: str) -> MeanMetric:
        """The mean of this name."""
        return cast(MeanMetric, super().__getitem__(key))  # torch knows of modules only
