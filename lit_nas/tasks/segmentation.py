"""Semantic segmentation: one of K classes for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lit_nas.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchmetrics import Metric

    from lit_nas.specs import ImageSpec

__all__ = ("Segmentation",)


@dataclass(frozen=True)
class Segmentation(Task):
    """Cross entropy of logits [B, K, H, W] with class numbers, int64 [B, H, W]; accuracy of pixels, and mean IoU.

    The head is a 1x1 convolution on the last maps of the network, whose logits are then resized to the image
    (bilinear).
    """

    dense = True
    best = "accuracy"

    ignore_index: int = -100
    """Class number of pixels that do not count."""

    def check_spec(self, spec: ImageSpec) -> None:
        """See `Task`: there must be two classes at least."""
        if spec.classes == 1:
            raise ValueError("spec.classes is 1, but Segmentation needs at least 2 classes of pixels to tell apart.")

    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        import torch

        wanted = (images, spec.height, spec.width)
        if targets.dtype != torch.int64 or tuple(targets.shape) != wanted:
            raise ValueError(
                f"{origin} has targets of shape {list(targets.shape)} and type {targets.dtype}, but Segmentation takes "
                f"a class number for each pixel, {list(wanted)} of type torch.int64."
            )

    def check_values(self, targets: Tensor, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        counted = targets[targets != self.ignore_index]
        if counted.numel() and (int(counted.min()) < 0 or int(counted.max()) >= spec.classes):
            raise ValueError(
                f"{origin} has pixels of the classes {int(counted.min())} to {int(counted.max())}, but there are "
                f"{spec.classes} classes, 0 to {spec.classes - 1}, and {self.ignore_index} for pixels that do not "
                "count."
            )

    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """See `Task`."""
        from torch import nn

        convolution = nn.Conv2d(channels, spec.classes, 1)
        return nn.Sequential(convolution, nn.Upsample((spec.height, spec.width), mode="bilinear"))

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """See `Task`; the mean over pixels that count, 0 where none does."""
        from torch.nn import functional as F

        loss = F.cross_entropy(outputs, targets, ignore_index=self.ignore_index)  # nan of none
        return loss.where((targets != self.ignore_index).any(), 0.0 * outputs.sum())

    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """See `Task`."""
        from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

        return {
            "accuracy": MulticlassAccuracy(
                spec.classes, average="micro", ignore_index=self.ignore_index, validate_args=False
            ),
            "iou": MulticlassJaccardIndex(spec.classes, ignore_index=self.ignore_index, validate_args=False),
        }

    def predict(self, outputs: Tensor) -> Tensor:
        """The most probable class of each pixel, int64 [B, H, W]."""
        return outputs.argmax(1)
