"""Which image comes when, and which noise it gets: pure functions of seed, role, epoch and position."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ("Order", "generator", "mix")


def mix(*parts: int | str) -> int:
    """A 63-bit number that depends on all parts and their order, equal on every machine and in every process."""
    # Python's hash() of a string differs between processes, sums and products of seeds collide
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int) -> torch.Generator:
    """A generator of its own on the CPU, so that nothing is drawn from the global one."""
    return torch.Generator().manual_seed(seed)


class Order:
    """Order of one rank's images of one part of the split.

    In training each pass over the part is shuffled by (seed, role, epoch, cycle), dealt to the ranks, and cut into
    full batches; an epoch has `batches` of them, however many passes that takes. In evaluation the images come once,
    in the order of the part, and each rank has the same number of batches without a repeated image.

    Args:
        indices: Images of the part.
        role: Name of the part; parts of the same size get different permutations by it.
        seed: Seed of order and noise.
        batch_size: Images a batch and rank.
        ranks: This rank and the number of ranks.
        batches: Batches an epoch in training, None for one pass.
        training: Whether to shuffle, drop the incomplete batch and cycle.

    Raises:
        ValueError: if the part does not fill a batch on each rank.
    """

    def __init__(
        self,
        indices: Tensor,
        role: str,
        seed: int,
        batch_size: int,
        ranks: tuple[int, int] = (0, 1),
        batches: int | None = None,
        training: bool = True,
    ) -> None:
        self.indices, self.role, self.seed, self.batch_size, self.training = indices, role, seed, batch_size, training
        self.rank, self.world = ranks
        share = len(indices) // self.world
        if training and share < batch_size:
            raise ValueError(
                f"data.batch_size is {batch_size} but the part '{role}' has {len(indices)} images, which is {share} "
                f"for each of {self.world} processes. Use a batch_size of at most {share}, a data.split that gives "
                f"'{role}' more, or fewer processes."
            )
        if share < 1:
            raise ValueError(f"The part '{role}' has {len(indices)} images, too few for {self.world} processes.")
        self._pass = share // batch_size if training else -(-len(indices) // (self.world * batch_size))
        self._length = self._pass if batches is None else batches

    def __len__(self) -> int:
        """Batches an epoch, equal on all ranks."""
        return self._length

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, int, int]]:
        """Indices, cycle and noise seed of each batch of an epoch, from batch `start` on."""
        shard: tuple[Tensor, ...] = ()
        for position in range(start, len(self)):
            cycle, step = divmod(position, self._pass)
            if not shard or step == 0:
                shard = self._shard(epoch, cycle)
            yield shard[step], cycle, mix(self.seed, self.role, "noise", epoch, cycle, step, self.rank)

    def _shard(self, epoch: int, cycle: int) -> tuple[Tensor, ...]:
        if not self.training:
            mine = self.indices[self.rank :: self.world]
            cut = mine.split(self.batch_size)
            # a rank with one image less may lack a batch that others have, which would hang a collective in a step
            return cut if len(cut) == self._pass else mine.tensor_split(self._pass)
        shuffle = generator(mix(self.seed, self.role, "order", epoch, cycle))
        order = self.indices[torch.randperm(len(self.indices), generator=shuffle)]
        return order[self.rank :: self.world][: self._pass * self.batch_size].split(self.batch_size)
