"""Loaders that continue in the middle of an epoch with the very batches that an uninterrupted run would see."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from lit_nas.data.order import Order

__all__ = ("ImageBatch", "RoleLoader", "TensorLoader")


class ImageBatch(NamedTuple):
    """What a loader yields, before augmentation."""

    images: Tensor
    """uint8 [B, C, H, W]."""
    labels: Tensor
    """int64 [B]."""
    seed: int
    """Drives the augmentation of this batch."""


class RoleLoader(ABC):
    """Batches of one part of the split, in an order that only seed, role, epoch and position decide.

    It is no torch DataLoader, so Lightning neither wraps it nor puts a distributed sampler in: the order has dealt
    the images to the ranks already, whatever `use_distributed_sampler` says. Lightning saves `state_dict` in the
    middle of an epoch, from rank 0, which is enough because it is the same on all ranks.
    """

    batch_sampler = None
    """Nothing; Lightning reads it of whatever has a sampler."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.epoch = 0
        self.position = 0
        self._resumed = False

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.order)

    @property
    def sampler(self) -> "RoleLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Starts an epoch; naming the present one again changes nothing."""
        if epoch != self.epoch:
            self.epoch, self.position, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of batches handed out in it, which give the cycle too."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the batches that were handed out; the next iteration starts there."""
        self.epoch, self.position, self._resumed = state["epoch"], state["position"], True

    # a generator, because Lightning calls iter() before it names the epoch
    def __iter__(self) -> Iterator[ImageBatch]:
        """The batches of the epoch that is set when the first one is asked for."""
        if not self._resumed:
            self.position = 0
        self._resumed = False
        for batch in self.load(self.epoch, self.position):
            self.position += 1
            yield batch

    @abstractmethod
    def load(self, epoch: int, start: int) -> Iterator[ImageBatch]:
        """Batches of an epoch from number `start` on."""


class TensorLoader(RoleLoader):
    """Loads from images that lie in one tensor, on the device of that tensor."""

    def __init__(self, images: Tensor, labels: Tensor, order: Order) -> None:
        super().__init__(order)
        self.images, self.labels = images, labels

    def load(self, epoch: int, start: int) -> Iterator[ImageBatch]:
        """Batches of an epoch from number `start` on."""
        for index, _, seed in self.order.batches(epoch, start):
            # must not wait for the device, which still works on the batch before
            index = index.to(self.images.device, non_blocking=True)
            yield ImageBatch(self.images[index], self.labels[index], seed)
