"""Searches over networks that classify images."""

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from lit_nas.architecture import Mixture
from lit_nas.image_batches import CheckedBatches, ImageBatch, Prediction, images_of, predict
from lit_nas.search.means import Means
from lit_nas.search.search_module import SearchModule
from lit_nas.specs import ImageSpec, Spec

__all__ = ("ImageSearchModule",)


class ImageSearchModule(CheckedBatches, SearchModule, ABC):
    """A search over networks that classify images.

    Without a data module, a bilevel search takes `{"weights": loader, "arch": loader}`, DataLoaders over (image, label)
    tuples; another level takes a single DataLoader.
    """

    spec: ImageSpec
    spec_class: ClassVar[type[Spec]] = ImageSpec

    def __init__(self) -> None:
        super().__init__()
        self.scores = Means(("val_loss", "val_accuracy", "test_loss", "test_accuracy"))

    def cut(self, batch: ImageBatch, parts: int) -> Sequence[ImageBatch]:
        """Cuts a batch between its images, in their order."""
        images, labels = batch
        return list(zip(images.chunk(parts), labels.chunk(parts), strict=True))

    def size(self, batch: ImageBatch) -> int:
        """Number of images."""
        return len(batch[1])

    def loss(self, batch: ImageBatch, mixture: Mixture | None = None) -> Tensor:
        """Mean cross entropy.

        Args:
            batch: Images and labels.
            mixture: How candidates are mixed; the architecture's present one by default.
        """
        images, labels = batch
        return F.cross_entropy(self.network(images, self.architecture() if mixture is None else mixture), labels)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of the search network."""
        return self.network(images, self.architecture())

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and accuracy on data by which the weights were not updated."""
        self._evaluate(batch, "val")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and accuracy of the search network on the test part."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: ImageBatch | Tensor, batch_idx: int) -> Prediction:
        """Class of each image and its probability."""
        return predict(self(images_of(batch)))

    def _evaluate(self, batch: ImageBatch, stage: str) -> None:
        images, labels = batch
        logits = self(images)
        values = {
            "loss": F.cross_entropy(logits, labels, reduction="none"),
            "accuracy": (logits.argmax(-1) == labels).float(),
        }
        for name, value in values.items():
            metric = self.scores[f"{stage}_{name}"]
            metric.update(value)
            self.log(f"{stage}/{name}", metric, prog_bar=name == "accuracy")
