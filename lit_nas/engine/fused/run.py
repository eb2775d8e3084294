"""A front with the values of one run, and what functions of its candidates share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_nas.engine.fused.plan import Front, Group
from lit_nas.engine.fused.source import Source
from lit_nas.engine.fused.statistics import BatchStatistics, Moments
from lit_nas.internals import is_view

__all__ = ("SLIM", "Run", "Weights", "add", "unchanged_buffers")

SLIM = 8
"""On a CPU groups of at most so many channels, those of partial channels, run as one matrix product."""
Weights = Mapping[Group, Sequence[Tensor]]
"""For each group of convolutions the kernels, those of K modules side by side."""


@dataclass(frozen=True, eq=False)
class Run:
    """A front with its values."""

    front: Front
    source: Source
    """The states."""
    plain: tuple[int, Tensor]
    """Mixing weights of the front's edges, [O', K], with the column of their first row."""
    scales: Mapping[int, Tensor]
    """By column, those that are the scales of BatchNorms, each repeated for all channels, [K, C]."""
    weights: Weights
    """Of the convolutions."""
    statistics: BatchStatistics
    """Where the moments of the batch go."""
    again: bool
    """Whether this is a second run on the same batch, for the backward pass."""

    def factor(self, column: int, member: int) -> Tensor:
        """Mixing weight of one candidate, 0-dim."""
        first, factors = self.plain
        return factors[column - first, member]

    def factors(self, columns: Sequence[int]) -> Tensor:
        """Mixing weights of some columns on all edges, [J, K]."""
        first, factors = self.plain
        rows = [column - first for column in columns]
        if rows == list(range(len(factors))):
            return factors
        return torch.stack([factors[row] for row in rows])

    def scale(self, group: Group) -> Tensor:
        """Mixing weights of a group's edges, each repeated for all channels, [K * C]."""
        row = self.scales[group.column]
        if len(group.members) < len(row):
            each = row.unbind()
            row = torch.stack([each[member] for member in group.members])
        return row.flatten()

    def moments(self, group: Group) -> list[Moments]:
        """What each BatchNorm of a group needs to know."""
        return [self.statistics.of(group, index) for index in range(len(group.norms))]


def add(total: Tensor | None, term: Tensor) -> Tensor:
    """The sum of both, in place where autograd allows it; `total` must not be saved by what made it."""
    if total is None:
        return term
    return total + term if is_view(total) or total.dtype != term.dtype else total.add_(term)


@contextmanager
def unchanged_buffers(module: nn.Module, again: bool) -> Iterator[None]:
    """Puts the buffers of a module back, if this is the second run of it on the same batch."""
    saved = [buffer.clone() for buffer in module.buffers()] if again else []
    try:
        yield
    finally:  # a second run is left by an exception when the backward pass has all that it needs
        for buffer, value in zip(module.buffers(), saved, strict=False):  # nothing was saved in the first run
            buffer.data.copy_(value)  # not seen by autograd, like the update itself
