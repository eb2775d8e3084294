"""Batches of images and labels, and what is said when data hand over something else."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from lit_nas.batches import by_role, check_roles, say
from lit_nas.specs import ImageSpec

__all__ = (
    "CheckedBatches",
    "ImageBatch",
    "check_image_batch",
    "check_images",
    "images_of",
)

ImageBatch: TypeAlias = tuple[Tensor, Tensor]
"""Images [B, C, H, W] and what the task compares with the outputs: labels [B] in classification."""


def check_image_batch(batch: Any, spec: ImageSpec, weights: Tensor, origin: str) -> None:
    """Refuses what a network for images cannot compute with; looks at labels on the CPU only.

    Args:
        batch: What should be images and labels.
        spec: What the network was built for.
        weights: A tensor of the network, for its type of numbers.
        origin: Where the batch comes from, at the beginning of the message.

    Raises:
        ValueError: naming what is wrong and what is wanted.
    """
    if not (isinstance(batch, Sequence) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        raise ValueError(
            f"{origin} is {say(batch)}, but a pair of tensors (images [B, C, H, W], labels [B]) is wanted, as a "
            "DataLoader over (image, label) tuples makes it."
        )
    images, labels = batch
    check_images(images, spec, weights, origin)
    spec.task.check_targets(labels, len(images), spec, origin)
    if labels.device.type == "cpu":  # looking at others would wait for their device
        spec.task.check_values(labels, spec, origin)


def check_images(images: Tensor, spec: ImageSpec, weights: Tensor, origin: str) -> None:
    """Refuses images of another shape or type than the network takes; looks at no value.

    Raises:
        ValueError: naming what is wrong and what is wanted.
    """
    if tuple(images.shape[1:]) != (spec.channels, spec.height, spec.width):
        raise ValueError(
            f"{origin} has images of shape {list(images.shape)}, but the network was built for {spec}, which is "
            f"[B, {spec.channels}, {spec.height}, {spec.width}]. Build the model with the `spec` of the data, "
            "or resize the images and convert their channels."
        )
    if not images.is_floating_point():
        raise ValueError(
            f"{origin} has images of type {images.dtype}, but normalised floating-point numbers are wanted, such as "
            "`(images.float() / 255 - mean) / std` with the mean and the deviation of each channel."
        )
    if images.dtype == torch.float64 != weights.dtype:
        raise ValueError(
            f"{origin} has images of type {images.dtype}, but the network computes in {weights.dtype}: hand over "
            "`images.float()`, or set trainer.precision to 64-true."
        )


class CheckedBatches(LightningModule):
    """A module for images that checks the batches that it is given, wherever they come from.

    Nothing of this waits for a device: labels that are to be moved to one are looked at before.
    """

    spec: ImageSpec
    network: nn.Module
    roles: frozenset[str]

    def setup(self, stage: str) -> None:
        """Lets Lightning take the hook below from the module, also beside a data module, without a warning."""
        warnings.filterwarnings("ignore", "You have overridden `on_before_batch_transfer` in `LightningModule`")
        super().setup(stage)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Checks labels that are about to leave the CPU.

        Raises:
            ValueError: naming the labels and the classes.
        """
        if self.device.type == "cpu" or self.trainer.predicting:  # checked in the step, or not used
            return batch
        for part in batch.values() if isinstance(batch, Mapping) else (batch,):
            labels = part[1] if type(part) in (tuple, list) and len(part) == 2 else None
            if isinstance(labels, Tensor) and labels.device.type == "cpu":
                self.spec.task.check_targets(labels, len(part[0]), self.spec, "A batch")
                self.spec.task.check_values(labels, self.spec, "A batch")
        return batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Checks the batch of each role.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """
        super().on_train_batch_start(batch, batch_idx)
        check_roles(batch, self.roles, type(self).__name__)
        batches = by_role(batch)
        for role in self.roles:
            self._check(batches[role], f"The training batch of the part '{role}'")

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuses a batch that does not fit the network."""
        self._check(batch, "A batch of the validation")

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuses a batch that does not fit the network."""
        self._check(batch, "A batch of the test")

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Checks the images; their labels are not used.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """
        images = images_of(batch)
        if not isinstance(images, Tensor):
            raise ValueError(
                f"A batch to predict is {say(batch)}, but images [B, C, H, W] are wanted, or a pair of them and "
                "labels, which are ignored."
            )
        check_images(images, self.spec, self._some_weights, "A batch to predict")

    @property
    def _some_weights(self) -> Tensor:
        return next(self.network.parameters())

    def _check(self, batch: Any, origin: str) -> None:
        check_image_batch(batch, self.spec, self._some_weights, origin)


def images_of(batch: Any) -> Any:
    """The images of a batch to predict, which may come without labels."""
    return batch[0] if isinstance(batch, (tuple, list)) and len(batch) > 0 else batch
