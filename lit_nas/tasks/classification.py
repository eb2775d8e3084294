"""Classification: one of K classes for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lit_nas.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchmetrics import Metric

    from lit_nas.specs import ImageSpec

__all__ = ("Classification", "Prediction")


class Prediction(NamedTuple):
    """What a network says of a batch of images."""

    classes: Tensor
    """The most probable class of each image, int64 [B]."""
    probabilities: Tensor
    """Its probability, [B]."""


@dataclass(frozen=True)
class Classification(Task):
    """Cross entropy of logits [B, K] with class numbers, int64 [B]; accuracy, and top-5 accuracy of the test."""

    smooths_labels = True
    best = "accuracy"

    def check_spec(self, spec: ImageSpec) -> None:
        """See `Task`: there must be two classes at least."""
        if spec.classes == 1:
            raise ValueError("spec.classes is 1, but a network needs at least 2 classes to tell apart.")

    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        import torch

        if targets.dtype != torch.int64 or tuple(targets.shape) != (images,):
            raise ValueError(
                f"{origin} has labels of shape {list(targets.shape)} and type {targets.dtype}, but {images} images "
                f"need class numbers of shape [{images}] and type torch.int64: `labels.long()`, or `argmax(-1)` of "
                "one-hot labels."
            )

    def check_values(self, targets: Tensor, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if targets.numel() and (int(targets.min()) < 0 or int(targets.max()) >= spec.classes):
            raise ValueError(
                f"{origin} has labels from {int(targets.min())} to {int(targets.max())}, but the network tells "
                f"{spec.classes} classes apart, whose labels are 0 to {spec.classes - 1}. Build the model with "
                f"`spec=ImageSpec({spec.channels}, {spec.height}, {spec.width}, classes=...)`, or renumber the "
                "labels."
            )

    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """See `Task`: a linear layer."""
        from torch import nn

        return nn.Linear(channels, spec.classes)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """See `Task`."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """See `Task`; top-5 accuracy where there are more than five classes."""
        from torchmetrics.classification import MulticlassAccuracy

        tops = {"accuracy": 1, **({"top5_accuracy": 5} if test and spec.classes > 5 else {})}
        return {
            name: MulticlassAccuracy(spec.classes, top_k=top, average="micro", validate_args=False)
            for name, top in tops.items()
        }

    def predict(self, outputs: Tensor) -> Prediction:
        """The most probable class of each image, and its probability."""
        probabilities, classes = outputs.float().softmax(-1).max(-1)
        return Prediction(classes, probabilities)
