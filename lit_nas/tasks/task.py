"""What a task is: the one thing beside the images that data, search and retraining must agree on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # describing data does without torch
    from torch import Tensor, nn
    from torchmetrics import Metric

    from lit_nas.specs import ImageSpec

__all__ = ("Task",)


class Task(ABC):
    """What a network for images is to say of each: loss, metrics and last layer. A value; final subclasses are frozen.

    It is a field of `ImageSpec`, so the data hand it to the search and to the retraining, and checkpoints record it.
    Shapes: B images, K numbers or classes (`ImageSpec.classes`).
    """

    dense: ClassVar[bool] = False
    """Whether the head reads maps [B, C, h, w]; otherwise it reads their means [B, C]."""
    smooths_labels: ClassVar[bool] = False
    """Whether the loss takes `label_smoothing`."""
    best: ClassVar[str | None] = None
    """The metric that progress shows; None shows the loss alone."""

    def check_spec(self, spec: ImageSpec) -> None:  # noqa: B027 - most take all numbers
        """Refuses numbers that make no sense.

        Args:
            spec: Images and labels.

        Raises:
            ValueError: naming the number.
        """

    @abstractmethod
    def check_targets(self, targets: Tensor, images: int, spec: ImageSpec, origin: str) -> None:
        """Refuses targets of another shape or type than the loss takes; looks at values on the CPU only.

        Args:
            targets: What should be compared with the outputs.
            images: B.
            spec: Images and labels.
            origin: Where they come from, at the beginning of the message.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """

    def check_values(self, targets: Tensor, spec: ImageSpec, origin: str) -> None:  # noqa: B027 - most have no range
        """Refuses values that no target has; called where the targets are on the CPU.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """

    @abstractmethod
    def head(self, channels: int, spec: ImageSpec) -> nn.Module:
        """The last layer: features [B, C], or maps [B, C, h, w] of a dense task, to outputs.

        Args:
            channels: C.
            spec: Images and labels.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean over the images, 0-dim.

        Args:
            outputs: Of the head.
            targets: Of the data.
            label_smoothing: Part of the target that is spread over all classes, where `smooths_labels`.
        """

    @abstractmethod
    def metrics(self, spec: ImageSpec, test: bool = False) -> dict[str, Metric]:
        """New metrics of outputs and targets, by the name that logs have.

        They must not wait for the device in `update` (`validate_args=False`).

        Args:
            spec: Images and labels.
            test: Whether they are those of a test, which may have more.
        """

    def score(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics are updated with; outputs and targets themselves unless they take another form."""
        return outputs, targets

    def predict(self, outputs: Tensor) -> Any:
        """What `predict_step` returns; the outputs themselves unless there is more to say."""
        return outputs
