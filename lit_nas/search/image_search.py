"""Searches over networks for images, whatever their task."""

from abc import ABC
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import Metric

from lit_nas.architecture import Mixture
from lit_nas.image_batches import CheckedBatches, ImageBatch, images_of
from lit_nas.search.means import Means
from lit_nas.search.search_module import SearchModule
from lit_nas.specs import ImageSpec, Spec

__all__ = ("ImageSearchModule",)


class ImageSearchModule(CheckedBatches, SearchModule, ABC):
    """A search over networks for images; loss and metrics are those of the task (`spec.task`).

    Without a data module, a bilevel search takes `{"weights": loader, "arch": loader}`, DataLoaders over (image, label)
    tuples; another level takes a single DataLoader.
    """

    spec: ImageSpec
    spec_class: ClassVar[type[Spec]] = ImageSpec

    def __init__(self) -> None:
        super().__init__()
        self.scores = Means(("val_loss", "test_loss"))
        self.task_metrics = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Makes the metrics of the task, now that it is known."""
        super().setup(stage)
        if not self.task_metrics:
            for part in ("val", "test"):
                for name, metric in self.spec.task.metrics(self.spec, test=part == "test").items():
                    self.task_metrics[f"{part}_{name}"] = metric
            self.task_metrics.to(self.device)

    def cut(self, batch: ImageBatch, parts: int) -> Sequence[ImageBatch]:
        """Cuts a batch between its images, in their order."""
        images, labels = batch
        return list(zip(images.chunk(parts), labels.chunk(parts), strict=True))

    def size(self, batch: ImageBatch) -> int:
        """Number of images."""
        return len(batch[1])

    def loss(self, batch: ImageBatch, mixture: Mixture | None = None) -> Tensor:
        """Mean loss of the task, cross entropy in classification.

        Args:
            batch: Images and targets.
            mixture: How candidates are mixed; the architecture's present one by default.
        """
        images, targets = batch
        return self.spec.task.loss(self.network(images, self.architecture() if mixture is None else mixture), targets)

    def forward(self, images: Tensor) -> Tensor:
        """What the search network says, logits [B, K] in classification."""
        return self.network(images, self.architecture())

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and metrics on data by which the weights were not updated."""
        self._evaluate(batch, "val")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and metrics of the search network on the test part."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: ImageBatch | Tensor, batch_idx: int) -> Any:
        """What the task says of each image: its class and the probability of that in classification."""
        return self.spec.task.predict(self(images_of(batch)))

    def _evaluate(self, batch: ImageBatch, stage: str) -> None:
        images, targets = batch
        task, outputs = self.spec.task, self(images)
        mean = self.scores[f"{stage}_loss"]
        # one value for each image, so that batches count by their size
        mean.update(task.loss(outputs, targets).expand(len(images)))
        self.log(f"{stage}/loss", mean)
        for key, metric in self.task_metrics.items():
            part, _, name = key.partition("_")
            if part == stage and isinstance(metric, Metric):
                metric.update(*task.score(outputs, targets))
                self.log(f"{stage}/{name}", metric, prog_bar=name == task.best)
