"""Means and products of the feature maps of several operations, batch by batch, in memory that does not grow.

Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979): what two parts
of the data have found is joined by the difference of their means. Maps are centred by the running mean before their
products are taken, so that nothing cancels, however far the mean lies from zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ("Definition", "FeatureMoments")

Definition = Literal["features", "maps"]
"""What is centred: `features`, each of the D features over the samples (the authors' code), or `maps`, all features of
all samples by one mean, which is Pearson's coefficient of the flattened maps (the paper, section 1)."""
CHUNK = 2**19
"""Numbers that are centred at a time on a CPU: what its caches hold."""
_ROUNDING = 16 * torch.finfo(torch.float64).eps
"""Deviation in units of the root mean square below which outputs are the same number."""


class FeatureMoments:
    """First and second moments of the outputs of K operations on one edge, all in float64.

    It holds K * D means and K * K products, whatever the number of samples.

    Args:
        count: K.
    """

    def __init__(self, count: int) -> None:
        self.samples = 0
        """How many samples were seen, N."""
        self.means = torch.zeros(count, 0, dtype=torch.float64)
        """Mean of each feature over the samples, [K, ...] with the D features of a sample as they lie in memory."""
        self.products = torch.zeros(count, count, dtype=torch.float64)
        """Sum over samples and features of (f_a - mean f_a)(f_b - mean f_b), [K, K]."""

    @torch.no_grad()
    def update(self, maps: Sequence[Tensor]) -> None:
        """Adds a batch.

        Args:
            maps: The outputs of the K operations for the same samples, each [B, ...] of one shape.

        Raises:
            ValueError: if their number or shapes differ.
        """
        shapes = {tuple(each.shape) for each in maps}
        if len(maps) != len(self.products) or len(shapes) > 1:
            raise ValueError(f"Maps of {len(self.products)} operations of one shape are needed, not {sorted(shapes)}.")
        rows = [_in_memory_order(each) for each in maps]
        batch = len(rows[0])
        step = batch if rows[0].is_cuda else max(1, CHUNK // max(1, sum(row[:1].numel() for row in rows)))
        for start in range(0, batch, step):
            self._add([row[start : start + step] for row in rows])

    def _add(self, rows: list[Tensor]) -> None:
        size, device = len(rows[0]), _with_float64(rows[0].device)
        if self.samples == 0:
            self.means = torch.stack([row.to(device).mean(0, dtype=torch.float64) for row in rows])
            self.products = self.products.to(device)
        centred = torch.empty(len(rows), *rows[0].shape, dtype=torch.float64, device=device)
        for row, mean, out in zip(rows, self.means, centred, strict=True):
            torch.sub(row.to(device), mean, out=out)
        shifts = centred.mean(1)  # of the mean of these samples, [K, ...]
        total, flat, apart = self.samples + size, centred.flatten(1), shifts.flatten(1)
        # products about the old mean -> about the mean of all: size - size * samples / total = size ** 2 / total
        self.products += flat @ flat.T - size**2 / total * (apart @ apart.T)
        self.means += size / total * shifts
        self.samples = total

    def correlation(self, definition: Definition = "features") -> tuple[Tensor, Tensor]:
        """The correlation of each two operations.

        Args:
            definition: What is centred.

        Returns:
            [K, K] float64 on the CPU with a diagonal of 1, and which operations are constant, bool [K]: their outputs
            do not vary, so that their correlations do not exist and are NaN, on the diagonal as well.

        Raises:
            ValueError: if the definition is unknown, there was no sample, or an output was not finite.
        """
        if definition not in get_args(Definition):
            raise ValueError(f"The definition must be one of {', '.join(get_args(Definition))}, not {definition!r}.")
        if not self.samples:
            raise ValueError("There is no correlation without a sample.")
        means, products = self.means.flatten(1).cpu(), self.products.cpu()
        if not bool(products.isfinite().all()):
            raise ValueError("The outputs of the candidates are not finite, so that they have no correlation.")
        squares = products.diagonal() + self.samples * means.square().sum(1)
        if definition == "maps":  # what the means of the features vary about their own mean comes in addition
            apart = means - means.mean(1, keepdim=True)
            products = products + self.samples * (apart @ apart.T)
        variances = products.diagonal()
        constant = variances <= _ROUNDING**2 * squares
        deviations = variances.masked_fill(constant, torch.nan).sqrt()
        found = (products / deviations / deviations.unsqueeze(1)).clamp(-1.0, 1.0)
        found = (found + found.T) / 2
        found.diagonal().masked_fill_(~constant, 1.0)
        return found, constant


def _in_memory_order(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H, W, C]: the features of all operations in one order, that in which engines keep them."""
    return maps.detach().permute(0, 2, 3, 1) if maps.dim() == 4 else maps.detach()


def _with_float64(device: torch.device) -> torch.device:
    """Where moments are summed: on the device, or beside one that has no numbers of that precision."""
    return torch.device("cpu") if device.type == "mps" else device
