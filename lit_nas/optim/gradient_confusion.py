"""Gradient confusion: how much the gradients of mini-batches work against each other.

Paper: Sankararaman et al., "The Impact of Neural Network Overparameterization on Gradient Confusion and Stochastic
Gradient Descent", https://arxiv.org/abs/1904.06963. As StacNAS estimates it: Li et al.,
https://arxiv.org/abs/1909.11926, section 3.4.2 and appendix C.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from lit_nas.precision import widest_float

__all__ = ("Confusion", "GradientConfusion", "gradient_confusion")

MEBI = 2**20


def gradient_confusion(gradients: Tensor) -> float:
    """The largest negative inner product of the gradients of two different mini-batches, zeta.

    The paper's maximum runs over all i and j. Here i and j differ: a batch does not confuse itself, and the square of
    a small gradient would say that others agree less than they do.

    Args:
        gradients: Those of m mini-batches at one point, [m, M].

    Returns:
        max over i != j of -<g_i, g_j>; negative if all of them point into one half of the space.

    Raises:
        ValueError: if there are not at least two.
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise ValueError(f"Gradient confusion needs gradients [m, M] with m >= 2, not {list(gradients.shape)}.")
    wide = gradients.to(widest_float(gradients.device))
    products = wide @ wide.T
    return float(-products.fill_diagonal_(float("inf")).min())


@dataclass(frozen=True)
class Confusion:
    """An estimate of gradient confusion."""

    values: tuple[float, ...]
    """zeta of each draw."""
    weights: int
    """M, the number of weights that the gradients are those of."""

    @property
    def mean(self) -> float:
        """Mean of zeta over the draws."""
        return fmean(self.values)

    @property
    def per_weight(self) -> float:
        """Mean of zeta, divided by the number of weights (StacNAS, equation 2)."""
        return self.mean / self.weights

    @property
    def per_mebi(self) -> float:
        """The same with weights counted in 2^20, as the authors' code prints sizes: the paper's table has such values.

        The paper does not name the unit; where networks are compared, it does not matter.
        """
        return self.per_weight * MEBI

    def plain(self) -> dict[str, Any]:
        """Builtins, for files."""
        return {
            "values": list(self.values),
            "weights": self.weights,
            "mean": self.mean,
            "per_weight": self.per_weight,
            "per_mebi": self.per_mebi,
        }


@dataclass(frozen=True)
class GradientConfusion:
    """How gradient confusion is estimated: zeta on fresh random mini-batches, several times.

    Raises:
        ValueError: if a number is out of range.
    """

    draws: int = 10
    """How many zeta are averaged; the paper has 10 iterations (appendix C)."""
    batches: int = 4
    """m, mini-batches of each zeta, of which all pairs are compared. The paper does not state it; more of them make
    zeta larger, so only estimates of equal m compare."""
    seed: int = 0
    """Decides, with the number of the estimate, which images the mini-batches hold."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("batches", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"GradientConfusion.{name} must be at least {least}, not {getattr(self, name)}.")

    @property
    def count(self) -> int:
        """Mini-batches of an estimate."""
        return self.draws * self.batches

    def estimate(self, gradients: Iterable[Tensor]) -> Confusion:
        """The estimate from the gradients of `count` mini-batches, `batches` of which are kept at a time.

        Args:
            gradients: [M] each.

        Raises:
            ValueError: if there are too few.
        """
        values, weights, left = list[float](), 0, iter(gradients)
        for rows in self._groups(left):
            values.append(gradient_confusion(torch.stack(rows)))
            weights = rows[0].numel()
        return Confusion(tuple(values), weights)

    def _groups(self, gradients: Iterator[Tensor]) -> Iterator[list[Tensor]]:
        for draw in range(self.draws):
            rows = list(islice(gradients, self.batches))
            if len(rows) < self.batches:
                raise ValueError(
                    f"An estimate of gradient confusion needs {self.count} mini-batches, but there were "
                    f"{draw * self.batches + len(rows)}."
                )
            yield rows
