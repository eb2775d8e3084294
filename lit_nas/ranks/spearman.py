"""Spearman's rank correlation, with a test of chance and an interval, by drawing: both hold for small samples.

Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15 (1904).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ("Spearman", "average_ranks", "spearman")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spearman:
    """What was found."""

    coefficient: float | None
    """In [-1, 1]; None where one of both is constant."""
    p_value: float | None
    """How probable a coefficient as far from 0 is if both have nothing to do with each other (two-sided): the share of
    random permutations that have one, the present one counted."""
    low: float | None
    """Lower end of the 95 % interval of resampled pairs (bootstrap, percentiles); None for fewer than three pairs."""
    high: float | None
    """Its upper end."""
    pairs: int
    """How many there were."""


def average_ranks(values: Sequence[float] | Array) -> Array:
    """Ranks from 1, the smallest value first; equal values share the mean of their ranks.

    Args:
        values: [N] or [S, N], each row by itself.
    """
    array = np.asarray(values, dtype=np.float64)
    below = (array[..., None, :] < array[..., :, None]).sum(-1)
    equal = (array[..., None, :] == array[..., :, None]).sum(-1)
    ranks: Array = below + (equal + 1) / 2
    return ranks


def spearman(xs: Sequence[float], ys: Sequence[float], draws: int = 10_000, seed: int = 0) -> Spearman:
    """Spearman's coefficient of pairs.

    Args:
        xs: One of each pair.
        ys: The other one.
        draws: How many permutations, and how many resamples.
        seed: Of both.

    Raises:
        ValueError: if they are not as many, fewer than two, or not finite.
    """
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"A rank correlation needs two lists of the same length, at least 2, not {len(x)} and {len(y)}."
        )
    if np.isnan(x).any() or np.isnan(y).any():
        raise ValueError("A rank correlation needs numbers, but one is not a number.")
    chance, (a, b) = np.random.default_rng(seed), (average_ranks(x), average_ranks(y))
    found = float(_correlation(a, b))
    if np.isnan(found):
        return Spearman(None, None, None, None, len(x))
    shuffled = chance.permuted(np.tile(b, (draws, 1)), axis=1)
    as_far = (np.abs(_correlation(np.broadcast_to(a, shuffled.shape), shuffled)) >= abs(found) - 1e-9).sum()
    p_value = (1 + int(as_far)) / (1 + draws)
    if len(x) < 3:
        return Spearman(found, p_value, None, None, len(x))
    rows = np.concatenate([_resampled(x, y, part, chance) for part in np.diff(np.linspace(0, draws, 11).astype(int))])
    low, high = np.nanpercentile(rows, [2.5, 97.5])  # a resample that is constant has none
    return Spearman(found, p_value, float(low), float(high), len(x))


def _resampled(x: Array, y: Array, draws: int, chance: np.random.Generator) -> Array:
    drawn = chance.integers(len(x), size=(draws, len(x)))
    return _correlation(average_ranks(x[drawn]), average_ranks(y[drawn]))


def _correlation(a: Array, b: Array) -> Array:
    """Pearson's coefficient along the last axis; NaN where one of both is constant."""
    da, db = (each - each.mean(-1, keepdims=True) for each in (a, b))
    with np.errstate(invalid="ignore"):
        found: Array = (da * db).sum(-1) / np.sqrt((da * da).sum(-1) * (db * db).sum(-1))
    return found
