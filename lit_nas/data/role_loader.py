"""Loaders that continue in the middle of an epoch with the very batches that an uninterrupted run would see."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ("RoleLoader",)

Yielded = TypeVar("Yielded")


class RoleLoader(ABC, Generic[Yielded]):
    """Batches of one part of the split, in an order that only seed, role, epoch and position decide.

    It is no torch DataLoader, so Lightning neither wraps it nor puts a distributed sampler in: each rank's loader
    yields the share of that rank already, whatever `use_distributed_sampler` says. Lightning saves `state_dict` in the
    middle of an epoch, from rank 0, which is enough because it is the same on all ranks.

    Args:
        batches: Batches an epoch, equal on all ranks.
    """

    batch_sampler = None
    """Nothing; Lightning reads it of whatever has a sampler."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self.epoch = 0
        self.position = 0
        self._resumed = False

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._batches

    @property
    def sampler(self) -> "RoleLoader[Yielded]":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Starts an epoch; naming the present one again changes nothing."""
        if epoch != self.epoch:
            self.epoch, self.position, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of batches that it has yielded, which give the cycle, too."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the batches that it has yielded; the next iteration starts there."""
        self.epoch, self.position, self._resumed = state["epoch"], state["position"], True

    # a generator, because Lightning calls iter() before it names the epoch
    def __iter__(self) -> Iterator[Yielded]:
        """The batches of the epoch that is set when the first one is asked for."""
        if not self._resumed:
            self.position = 0
        self._resumed = False
        for batch in self.load(self.epoch, self.position):
            self.position += 1
            yield batch

    @abstractmethod
    def load(self, epoch: int, start: int) -> Iterator[Yielded]:
        """Batches of an epoch from number `start` on."""
