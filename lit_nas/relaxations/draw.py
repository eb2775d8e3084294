"""What is random in a mixture: drawn on the host once per step, the same wherever and however often it is asked for."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

__all__ = (
    "Active",
    "Draw",
    "Occasion",
    "Updates",
    "active_columns",
    "generator_of",
    "gumbel_noise",
    "mask_of",
    "seed_of",
)

Active = tuple[tuple[int, ...], ...]
"""For each of E edges the columns of the operations that are executed."""
Updates = Literal["weights", "arch", "both"]
"""What a step updates: one of the two levels of a search, or both."""


@dataclass(frozen=True)
class Occasion:
    """For what a draw is made."""

    names: tuple[str, ...]
    """What the columns are: the names of the operations; empty where they are the edges that lead to a node."""
    updates: Updates
    """What this step updates, because a method may execute more where it is the architecture."""
    generator: torch.Generator
    """On the CPU, seeded for this draw: the only source of chance."""


@dataclass(frozen=True)
class Draw:
    """What has been drawn for the cells of a type, or for one cell."""

    active: Active
    """The candidates that are executed, host data. Others are not computed, and no step touches their weights,
    except where candidates share a tensor (`MergedConv`): momentum and weight decay update the whole of it."""
    numbers: Tensor = field(default_factory=lambda: torch.empty(0))
    """[..., E, O]: what the relaxation makes weights of, such as noise; on the device by the time it does. Empty where
    it needs nothing."""
    probed: Active = ()
    """Candidates that take no part, but by whose weights the loss has a gradient: for each edge their columns, next to
    at least one that is executed. They are computed in the backward pass, one after the other; nothing of them is kept,
    and their own weights have no gradient. No rows mean that there are none."""


def active_columns(mask: Tensor) -> Active:
    """The columns of each row that are True.

    Args:
        mask: bool [E, O]; waits for the device if it is not on the CPU.
    """
    return tuple(tuple(column for column, alive in enumerate(row) if alive) for row in mask.tolist())


def mask_of(active: Active, operations: int) -> Tensor:
    """The mask that has those columns: the reverse of `active_columns`.

    Args:
        active: The columns of each of E edges.
        operations: O.

    Returns:
        bool [E, O], on the CPU.
    """
    mask = torch.zeros(len(active), operations, dtype=torch.bool)
    for row, columns in zip(mask, active, strict=True):
        row[list(columns)] = True
    return mask


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Gumbel noise: the largest entry of logits and noise is a draw by their softmax.

    Args:
        like: On the CPU; gives shape and kind.
        generator: The source of chance.
    """
    return -torch.empty_like(like).exponential_(generator=generator).log()


def generator_of(*parts: Hashable) -> torch.Generator:
    """A generator on the CPU whose seed follows from `parts`, on every machine and in every process.

    Args:
        parts: Numbers, texts and None.
    """
    return torch.Generator().manual_seed(seed_of(*parts))


def seed_of(*parts: Hashable) -> int:
    """A seed that follows from `parts`, on every machine and in every process.

    Args:
        parts: Numbers, texts and None.
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
