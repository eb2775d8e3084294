"""Regression: K numbers for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lit_nas.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchmetrics import Metric

    from lit_nas.specs import ImageSpec

__all__ = ("Regression",)


@dataclass(frozen=True)
class Regression(Task):
    """Distance of outputs [B, K] from numbers, float [B, K]; root mean square error and mean absolute error.

    Raises:
        ValueError: if the distance is unknown.
    """

    best = "mae"

    distance: Literal["squared", "absolute", "huber"] = "squared"
    """What the loss is the mean of: squares, absolute values, or squares that become linear from 1 on."""

    def __post_init__(self) -> None:
        if self.distance not in ("squared", "absolute", "huber"):
            raise ValueError(f"Regression.distance must be squared, absolute or huber, not {self.distance!r}.")

    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if not targets.is_floating_point() or tuple(targets.shape) != (images, spec.classes):
            raise ValueError(
                f"{origin} has targets of shape {list(targets.shape)} and type {targets.dtype}, but Regression takes "
                f"floating-point numbers [{images}, {spec.classes}] (spec.classes is their number for each image)."
            )

    def check_values(self, targets: Tensor, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if not bool(targets.isfinite().all()):
            raise ValueError(
                f"{origin} has targets that are nan or infinite, but Regression takes finite numbers: leave out the "
                "images without a number."
            )

    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """See `Task`: a linear layer."""
        from torch import nn

        return nn.Linear(channels, spec.classes)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """See `Task`."""
        from torch.nn import functional as F

        targets = targets.to(outputs.dtype)
        if self.distance == "squared":
            return F.mse_loss(outputs, targets)
        return F.l1_loss(outputs, targets) if self.distance == "absolute" else F.huber_loss(outputs, targets)

    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """See `Task`."""
        from torchmetrics import MeanAbsoluteError, MeanSquaredError

        return {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
