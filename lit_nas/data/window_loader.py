"""Loaders of windows of a text: which window comes when is a function of seed, epoch and position."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from lit_nas.data.order import generator, mix
from lit_nas.data.role_loader import RoleLoader
from lit_nas.windows import Window

__all__ = ("EvaluationLoader", "FollowingLoader", "RandomWindows", "TrainingLoader", "batchify")

_PASSES = 64
"""Passes of which the usual number of windows is taken."""
_MOST_DRAWS = 10_000


def batchify(tokens: Tensor, columns: int, ranks: tuple[int, int] = (0, 1)) -> Tensor:
    """Cuts a text into stretches of equal length that are read side by side.

    Args:
        tokens: int64 [N].
        columns: Stretches of each process, B.
        ranks: This process and the number of processes.

    Returns:
        int64 [N // (B * processes), B], the stretches of this process; the rest of the text is left out.
    """
    rank, world = ranks
    length = len(tokens) // (columns * world)
    table = tokens[: length * columns * world].view(columns * world, length)
    return table[rank * columns : (rank + 1) * columns].t().contiguous()


@dataclass(frozen=True)
class RandomWindows:
    """The lengths of the windows of a pass over a text (Merity et al., 2018, https://arxiv.org/abs/1708.02182, 4.1).

    All passes have the same number of windows: the most frequent one. Draws with another number are drawn again, for
    clock, schedules and Trainer count on epochs of equal length; the authors' number of windows varies by a few.
    """

    usual: int
    """Length of most windows."""
    half: float
    """Chance of a window of half that length."""
    jitter: float
    """Standard deviation by which lengths vary; 0 takes them as they are."""
    longest: int
    """What may be added to the usual length."""
    shortest: int
    """Length below which none is drawn where lengths vary."""

    def lengths(self, tokens: int, *seed: int | str) -> list[int]:
        """Lengths that cover a text; the last window may reach beyond its end.

        Args:
            tokens: Length of the text; what follows its last token is not known, so one less is read, and where a
                single token would be left for a window, that is left out as in the authors' code.
            seed: Of the pass.
        """
        wanted = self.number(tokens)
        for attempt in range(_MOST_DRAWS):
            if len(lengths := self._draw(tokens, *seed, attempt)) == wanted:
                return lengths
        raise RuntimeError(f"No pass over {tokens} tokens had {wanted} windows.")  # its chance is about one in ten

    def number(self, tokens: int) -> int:
        """Windows of each pass.

        Args:
            tokens: Length of the text.
        """
        if not self.half and not self.jitter:
            return len(self._draw(tokens, "number"))
        found = Counter(len(self._draw(tokens, "number", index)) for index in range(_PASSES))
        return min(found, key=lambda number: (-found[number], number))

    def _draw(self, tokens: int, *seed: int | str) -> list[int]:
        source, found, position = generator(mix("windows", *seed)), list[int](), 0
        while position < max(tokens - 2, 1):
            size = max(1, (tokens - position) // max(1, self.usual) + 8)
            halves = torch.rand(size, generator=source, dtype=torch.float64) < self.half
            bases = torch.where(halves, self.usual / 2, float(self.usual))
            if self.jitter:
                bases = bases + self.jitter * torch.randn(size, generator=source, dtype=torch.float64)
            for value in bases.tolist():
                length = int(value)
                if self.jitter:
                    length = min(max(self.shortest, length), self.usual + self.longest)
                found.append(max(1, length))
                position += found[-1]
                if position >= tokens - 2:
                    break
        return found


class TrainingLoader(RoleLoader[Window]):
    """Windows of random length from the beginning of the text to its end, in each epoch.

    Args:
        table: int64 [L, B], see `batchify`.
        windows: How lengths are drawn.
        seed: Of the lengths, equal on all processes.
    """

    def __init__(self, table: Tensor, windows: RandomWindows, seed: int) -> None:
        super().__init__(windows.number(len(table)))
        self.table, self.windows, self.seed = table, windows, seed

    def load(self, epoch: int, start: int) -> Iterator[Window]:
        """Windows of an epoch from number `start` on."""
        position, usual = 0, self.windows.usual
        for number, length in enumerate(self.windows.lengths(len(self.table), self.seed, epoch)):
            if number >= start:
                yield cut(self.table, position, length, position == 0, length / usual)
            position += length


class FollowingLoader(RoleLoader[Window]):
    """Windows of another text that begin where those of the training text do, which starts again at its end.

    A window has the usual length whatever that of the training window is, and is shorter at the end of the text, as in
    the authors' search; hidden states are carried over its end.

    Args:
        table: int64 [L, B] of this text.
        lead: The windows of the training text.
    """

    def __init__(self, table: Tensor, lead: TrainingLoader) -> None:
        super().__init__(len(lead))
        self.table, self.lead = table, lead

    def load(self, epoch: int, start: int) -> Iterator[Window]:
        """Windows of an epoch from number `start` on."""
        lead, position = self.lead, 0
        for number, length in enumerate(lead.windows.lengths(len(lead.table), lead.seed, epoch)):
            if number >= start:
                begin = position % (len(self.table) - 1)
                yield cut(self.table, begin, lead.windows.usual, position == 0, 1.0)
            position += length


class EvaluationLoader(RoleLoader[Window]):
    """Windows of equal length, once from the beginning of the text to its end.

    Args:
        table: int64 [L, B].
        length: T.
    """

    def __init__(self, table: Tensor, length: int) -> None:
        super().__init__(-(-(len(table) - 1) // length))
        self.table, self.length = table, length

    def load(self, epoch: int, start: int) -> Iterator[Window]:
        """Windows from number `start` on."""
        for number in count(start):
            if number >= len(self):
                return
            yield cut(self.table, number * self.length, self.length, number == 0, 1.0)


def cut(table: Tensor, start: int, length: int, first: bool, share: float) -> Window:
    """A window of a text, shorter where that ends.

    Args:
        table: int64 [L, B].
        start: First token.
        length: Number of tokens, where there are as many.
        first: Whether hidden states begin with zeros.
        share: Factor of the learning rate.
    """
    length = min(length, len(table) - 1 - start)
    return Window(table[start : start + length], table[start + 1 : start + 1 + length], first, share)
