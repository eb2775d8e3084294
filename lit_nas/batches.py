"""What a batch of images is, and what is said when data hand over something else."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from lit_nas.specs import ImageSpec

__all__ = (
    "CheckedBatches",
    "Pair",
    "Prediction",
    "by_role",
    "check_images",
    "check_labels",
    "check_pair",
    "images_of",
    "predict",
)

Pair = tuple[Tensor, Tensor]
"""Images [B, C, H, W] and labels [B]."""


class Prediction(NamedTuple):
    """What a network says of a batch of images."""

    classes: Tensor
    """The most probable class of each image, int64 [B]."""
    probabilities: Tensor
    """Its probability, [B]."""


def predict(logits: Tensor) -> Prediction:
    """The most probable class of each image, from logits [B, K]."""
    probabilities, classes = logits.float().softmax(-1).max(-1)
    return Prediction(classes, probabilities)


def by_role(batch: Any) -> Mapping[str, Pair]:
    """A training batch as a dict: a bare pair, as a plain DataLoader hands it over, trains the weights."""
    return batch if isinstance(batch, Mapping) else {"weights": batch}


def check_pair(pair: Any, spec: ImageSpec, weights: Tensor, origin: str) -> None:
    """Refuses what a network for images cannot compute with; looks at labels on the CPU only.

    Args:
        pair: What should be images and labels.
        spec: What the network was built for.
        weights: A tensor of the network, for its type of numbers.
        origin: Where the pair comes from, at the beginning of the message.

    Raises:
        ValueError: naming what is wrong and what is wanted.
    """
    if not (isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise ValueError(
            f"{origin} is {_say(pair)}, but a pair of tensors (images [B, C, H, W], labels [B]) is wanted, as a "
            "DataLoader over (image, label) tuples makes it."
        )
    images, labels = pair
    check_images(images, spec, weights, origin)
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{origin} has labels of shape {list(labels.shape)} and type {labels.dtype}, but {len(images)} images need "
            f"class numbers of shape [{len(images)}] and type torch.int64: `labels.long()`, or `argmax(-1)` of one-hot "
            "labels."
        )
    if labels.device.type == "cpu":  # looking at others would wait for their device
        check_labels(labels, spec, origin)


def check_labels(labels: Tensor, spec: ImageSpec, origin: str) -> None:
    """Refuses labels that are not those of the network's classes.

    Raises:
        ValueError: naming the labels and the classes.
    """
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= spec.classes):
        raise ValueError(
            f"{origin} has labels from {int(labels.min())} to {int(labels.max())}, but the network tells "
            f"{spec.classes} classes apart, whose labels are 0 to {spec.classes - 1}. Build the model with "
            f"`spec=ImageSpec({spec.channels}, {spec.height}, {spec.width}, classes=...)`, or renumber the "
            "labels."
        )


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
    """A module that checks the batches that it is given, wherever they come from.

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
        for pair in batch.values() if isinstance(batch, Mapping) else (batch,):
            labels = pair[1] if type(pair) in (tuple, list) and len(pair) == 2 else None
            if isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.device.type == "cpu":
                check_labels(labels, self.spec, "A batch")
        return batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Checks the batch of each role.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """
        super().on_train_batch_start(batch, batch_idx)
        pairs = by_role(batch)
        if missing := sorted(self.roles - set(pairs)):
            wanted = ", ".join(f'"{role}": loader' for role in sorted(self.roles, reverse=True))
            raise ValueError(
                f"A training batch is {_say(batch)}, but {type(self).__name__} needs the parts "
                f"{sorted(self.roles)} and {missing} is missing. Train with `{{{wanted}}}`, a dict of DataLoaders over "
                "(image, label) tuples" + ("." if len(self.roles) > 1 else ", or with a single one.")
            )
        for role in self.roles:
            self._check(pairs[role], f"The training batch of the part '{role}'")

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Checks the batch."""
        self._check(batch, "A batch of the validation")

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Checks the batch."""
        self._check(batch, "A batch of the test")

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Checks the images; their labels are not used.

        Raises:
            ValueError: naming what is wrong and what is wanted.
        """
        images = images_of(batch)
        if not isinstance(images, Tensor):
            raise ValueError(
                f"A batch to predict is {_say(batch)}, but images [B, C, H, W] are wanted, or a pair of them and "
                "labels, which are ignored."
            )
        check_images(images, self.spec, self._some_weights, "A batch to predict")

    @property
    def _some_weights(self) -> Tensor:
        return next(self.network.parameters())

    def _check(self, pair: Any, origin: str) -> None:
        check_pair(pair, self.spec, self._some_weights, origin)


def images_of(batch: Any) -> Any:
    """The images of a batch to predict, which may come without labels."""
    return batch[0] if isinstance(batch, (tuple, list)) and len(batch) > 0 else batch


def _say(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a dict with the keys {sorted(map(str, batch))}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        kinds = ", ".join(type(part).__name__ for part in batch[:4])
        return f"a {type(batch).__name__} of {len(batch)} ({kinds}{', ...' if len(batch) > 4 else ''})"
    return f"a {type(batch).__name__}"
