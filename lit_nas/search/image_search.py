"""Searches over networks that classify images."""

from abc import ABC

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lit_nas.architecture import Mixture
from lit_nas.batches import CheckedBatches, Pair, Prediction, images_of, predict
from lit_nas.search.search_module import SearchModule

__all__ = ("ImageSearchModule",)


class ImageSearchModule(CheckedBatches, SearchModule, ABC):
    """A search over networks that classify images.

    Without a data module, a bilevel search takes `{"weights": loader, "arch": loader}`, DataLoaders over (image, label)
    tuples; another level takes a single DataLoader.
    """

    def __init__(self) -> None:
        super().__init__()
        names = ("val_loss", "val_accuracy", "test_loss", "test_accuracy")
        self.scores = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in names})

    def loss(self, pair: Pair, mixture: Mixture | None = None) -> Tensor:
        """Mean cross entropy.

        Args:
            pair: Images and labels.
            mixture: How candidates are mixed; the architecture's present one by default.
        """
        images, labels = pair
        return F.cross_entropy(self.network(images, self.architecture() if mixture is None else mixture), labels)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of the search network."""
        return self.network(images, self.architecture())

    def validation_step(self, batch: Pair, batch_idx: int) -> None:
        """Loss and accuracy on data that did not move the weights."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Pair, batch_idx: int) -> None:
        """Loss and accuracy of the search network on the test part."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Pair | Tensor, batch_idx: int) -> Prediction:
        """Class of each image and its probability."""
        return predict(self(images_of(batch)))

    def _evaluate(self, batch: Pair, stage: str) -> None:
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
