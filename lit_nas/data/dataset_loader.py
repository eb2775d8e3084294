"""A loader for any data set of torch that continues an interrupted run exactly."""

from collections.abc import Callable, Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lit_nas.data.order import Order
from lit_nas.data.role_loader import RoleLoader

__all__ = ("DatasetLoader",)


class DatasetLoader(RoleLoader[Any]):
    """What a `DataLoader` does, with an order that is a function of seed, epoch and position.

    A plain `DataLoader(shuffle=True)` shuffles by the global random state, so that a run that was interrupted within an
    epoch sees other batches than an undisturbed one. This one continues after the batches that it has yielded, and each
    process has its share. What items do at random (augmentation) must follow from their index to be the same again.

    Args:
        dataset: With items by index, and a length.
        batch_size: Items of each batch and process.
        seed: Of the order.
        role: Name of the part, `weights` or `arch` for example; parts of one size are shuffled differently by it.
        training: Whether to shuffle and to drop an incomplete last batch; otherwise items come once, in their order.
        ranks: This process and the number of processes: `(trainer.global_rank, trainer.world_size)`.
        batches: Batches of an epoch in training; None is one pass. A part that accompanies a longer one has as many
            batches as that one, `len(other)`.
        workers: Worker processes; 0 loads in this one.
        collate: Makes a batch of a list of items; None is that of torch.

    Raises:
        ValueError: if the data set does not fill a batch on each process, or has no length.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        seed: int = 0,
        role: str = "weights",
        training: bool = True,
        ranks: tuple[int, int] = (0, 1),
        batches: int | None = None,
        workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if not isinstance(dataset, Sized):
            raise ValueError(
                f"DatasetLoader reads items by their index, but {type(dataset).__name__} has no length: hand an "
                "iterable data set to a DataLoader of torch."
            )
        self.order = Order(torch.arange(len(dataset)), role, seed, batch_size, ranks, batches, training)
        super().__init__(len(self.order))
        self.dataset, self.workers, self.collate = dataset, workers, collate

    def load(self, epoch: int, start: int) -> Iterator[Any]:
        """Batches of an epoch from number `start` on."""
        # the generator keeps DataLoader from drawing the seed of its workers from the global one
        yield from DataLoader(
            self.dataset,
            batch_sampler=(index.tolist() for index, _, _ in self.order.batches(epoch, start)),
            num_workers=self.workers,
            collate_fn=self.collate,
            generator=torch.Generator(),
        )
