"""Multi-label classification: any of K labels for each image."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from lit_nas.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchmetrics import Metric

    from lit_nas.specs import ImageSpec

__all__ = ("MultiLabel",)


@dataclass(frozen=True)
class MultiLabel(Task):
    """Binary cross entropy of logits [B, K] with zeros and ones, float [B, K]; accuracy of the single labels, and F1.

    Raises:
        ValueError: if the weight is not positive and finite.
    """

    best = "accuracy"

    positive_weight: float = 1.0
    """What labels that are there count, relative to those that are not."""

    def __post_init__(self) -> None:
        if not 0 < self.positive_weight < inf:
            raise ValueError(f"MultiLabel.positive_weight must be positive and finite, not {self.positive_weight}.")

    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if not targets.is_floating_point() or tuple(targets.shape) != (images, spec.classes):
            raise ValueError(
                f"{origin} has targets of shape {list(targets.shape)} and type {targets.dtype}, but MultiLabel takes "
                f"zeros and ones in floating point, [{images}, {spec.classes}]: a column for each label, `.float()`."
            )

    def check_values(self, targets: Tensor, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if targets.numel() and not (float(targets.min()) >= 0 and float(targets.max()) <= 1):
            raise ValueError(
                f"{origin} has targets from {float(targets.min()):g} to {float(targets.max()):g}, but MultiLabel takes "
                "numbers from 0 (the label is not there) to 1."
            )

    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """See `Task`: a linear layer."""
        from torch import nn

        return nn.Linear(channels, spec.classes)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """See `Task`; the mean over labels as well."""
        from torch.nn import functional as F

        weight = None if self.positive_weight == 1 else outputs.new_full((outputs.shape[-1],), self.positive_weight)
        return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), pos_weight=weight)

    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """See `Task`."""
        from torchmetrics.classification import MultilabelAccuracy, MultilabelF1Score

        return {
            "accuracy": MultilabelAccuracy(spec.classes, average="micro", validate_args=False),
            "f1": MultilabelF1Score(spec.classes, average="micro", validate_args=False),
        }

    def score(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `Task`: probabilities, for metrics take a batch whose logits all lie between 0 and 1 for these."""
        return outputs.sigmoid(), (targets > 0.5).long()

    def predict(self, outputs: Tensor) -> Tensor:
        """The probability of each label, [B, K]."""
        return outputs.sigmoid()
