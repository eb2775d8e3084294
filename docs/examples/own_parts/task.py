"""A task: the K classes are in order, and the loss is that of K - 1 yes-or-no questions, is the class above k?"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, Metric

from lit_nas.specs import ImageSpec
from lit_nas.tasks import Task


@dataclass(frozen=True)
class Ordinal(Task):
    """Binary cross entropy of K - 1 logits with class numbers, int64 [B]; the mean distance in classes."""

    best = "distance"

    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """See `Task`."""
        if targets.dtype != torch.int64 or tuple(targets.shape) != (images,):
            raise ValueError(f"{origin} needs class numbers [{images}], not {list(targets.shape)} of {targets.dtype}.")

    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """See `Task`."""
        return nn.Linear(channels, spec.classes - 1)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """See `Task`."""
        above = targets.unsqueeze(1) > torch.arange(outputs.shape[1], device=targets.device)
        return F.binary_cross_entropy_with_logits(outputs, above.to(outputs.dtype))

    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """See `Task`."""
        return {"distance": MeanAbsoluteError()}

    def score(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The number of questions that are answered by yes is the class."""
        return (outputs > 0).sum(1).float(), targets.float()

    def predict(self, outputs: Tensor) -> Tensor:
        """Class of each image, int64 [B]."""
        return (outputs > 0).sum(1)
