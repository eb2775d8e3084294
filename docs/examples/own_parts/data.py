"""Data: a module of one's own around loaders, here with three tasks on the digits of scikit-learn."""

from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lit_nas.data import DatasetLoader
from lit_nas.specs import ImageSpec
from lit_nas.tasks import Classification, MultiLabel, Regression, Segmentation, Task

TASKS: dict[str, tuple[int, Task]] = {
    "class": (10, Classification()),
    "labels": (3, MultiLabel()),
    "numbers": (2, Regression("huber")),
    "pixels": (2, Segmentation()),
}
"""Number of outputs and task."""


def targets_of(images: Tensor, digits: Tensor, what: str) -> Tensor:
    """What is asked of each image.

    The digit; whether it is even, above four, a multiple of three; how dark it is, and where; or which pixels are ink.
    """
    if what == "class":
        return digits
    if what == "labels":
        return torch.stack([digits % 2 == 0, digits > 4, digits % 3 == 0], 1).float()
    if what == "pixels":
        return (images[:, 0] > 0).long()
    rows = torch.linspace(-1, 1, 8).view(1, 8, 1)
    return torch.stack([images.mean((1, 2, 3)), (images[:, 0] * rows).mean((1, 2))], 1)


class OwnDigits(LightningDataModule):
    """Digits for a task; `spec` tells the model what they are.

    Args:
        what: Which targets they have.
        batch_size: Images of each batch.
        images: How many.
    """

    def __init__(
        self, what: Literal["class", "labels", "numbers", "pixels"] = "class", batch_size: int = 32, images: int = 300
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.what, self.batch_size, self.images = what, batch_size, images

    @property
    def spec(self) -> ImageSpec:
        """Images, number of outputs and task."""
        outputs, task = TASKS[self.what]
        return ImageSpec(1, 8, 8, outputs, task)

    def setup(self, stage: str) -> None:
        """Reads the digits and cuts them into three parts."""
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.from_numpy(data.images[: self.images]).float().unsqueeze(1) / 8 - 1
        targets = targets_of(images, torch.from_numpy(data.target[: self.images]).long(), self.what)
        third = self.images // 3
        self.parts = [
            TensorDataset(*(each[third * n : third * (n + 1)] for each in (images, targets))) for n in range(3)
        ]

    def train_dataloader(self) -> Any:
        """For a search a loader for each level; a retraining trains on the part of the weights."""
        weights = DatasetLoader(self.parts[0], self.batch_size, role="weights")
        arch = DatasetLoader(self.parts[1], self.batch_size, role="arch", batches=len(weights))
        return {"weights": weights, "arch": arch}

    def val_dataloader(self) -> Any:
        """Any `DataLoader` does where nothing is shuffled."""
        return DataLoader(self.parts[1], self.batch_size)

    def test_dataloader(self) -> Any:
        """Images that no part trains on."""
        return DataLoader(self.parts[2], self.batch_size)
