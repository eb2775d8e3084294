"""Loading of images that lie in memory."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from lit_nas.data.order import Order
from lit_nas.data.role_loader import RoleLoader

__all__ = ("RawBatch", "TensorLoader")


class RawBatch(NamedTuple):
    """What a loader of images yields, before augmentation and normalisation."""

    images: Tensor
    """uint8 [B, C, H, W]."""
    labels: Tensor
    """int64 [B]."""
    seed: int
    """Drives the augmentation of this batch."""


class TensorLoader(RoleLoader[RawBatch]):
    """Loads from images that lie in one tensor, on the device of that tensor."""

    def __init__(self, images: Tensor, labels: Tensor, order: Order) -> None:
        super().__init__(len(order))
        self.order, self.images, self.labels = order, images, labels

    def load(self, epoch: int, start: int) -> Iterator[RawBatch]:
        """Batches of an epoch from number `start` on."""
        for index, _, seed in self.order.batches(epoch, start):
            # must not wait for the device, which still works on the batch before
            index = index.to(self.images.device, non_blocking=True)
            yield RawBatch(self.images[index], self.labels[index], seed)
