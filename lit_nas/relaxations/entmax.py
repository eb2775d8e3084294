"""Sparse relaxations: mixing weights that can be exactly zero.

Papers: Peters, Niculae, Martins, ACL 2019, https://arxiv.org/abs/1905.05702, equations 3 to 5 (alpha-entmax);
Bezirganyan, Akarmazyan, 2022, https://doi.org/10.54503/2579-2903-2022.1-203 (in architecture search). The schedules are
what the latter name as future work; their form is ours.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from entmax import entmax15, sparsemax
from torch import Tensor
from torch.autograd import Function

from lit_nas.clock import Time
from lit_nas.precision import widest_float
from lit_nas.relaxations.relaxation import Relaxation
from lit_nas.schedules import Constant, Linear, Schedule, Steps

__all__ = ("Entmax",)

NEARLY_ONE = 1.0 + 1e-6
"""Below this alpha the weights are those of a softmax to six digits, and the general formula divides by zero."""


@dataclass(frozen=True)
class Entmax(Relaxation):
    """Alpha-entmax over the active candidates of an edge: softmax at alpha = 1, sparser the larger alpha is.

    An entry is p_i = [(alpha - 1) z_i - tau]_+ ^ (1 / (alpha - 1)), tau such that the row sums to 1. The Jacobian is
    diag(g) - g g^T / sum(g) with g_i = p_i ^ (2 - alpha) where p_i > 0, else 0. Both are computed in float64 whatever
    the precision of the run, because g is huge where p is small; on devices without float64, in float32.

    Raises:
        ValueError: if an alpha is below 1, or the stairs have no height.
    """

    alpha: float = 3.0
    """Sparsity at the end of the search: 1 is softmax, 2 sparsemax."""
    start: float | None = None
    """Sparsity at the beginning; None keeps `alpha` throughout."""
    stairs: int | None = None
    """In how many equal stairs, the first at `start` and the last at `alpha`; None changes linearly with every step."""

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("start", self.start)):
            if value is not None and not 1.0 <= value < float("inf"):
                raise ValueError(f"relaxation.{name} of Entmax must be at least 1, not {value}.")
        if self.stairs is not None and (self.start is None or self.stairs < 2):
            raise ValueError(
                f"relaxation.stairs of Entmax is {self.stairs}, but must be at least 2 and lead from `start`, which is "
                f"{self.start}."
            )

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        safe = mask | ~mask.any(-1, keepdim=True)  # nothing is no distribution
        with torch.autocast(logits.device.type, enabled=False):
            z = logits.to(widest_float(logits.device)).masked_fill(~safe, float("-inf"))
            with torch.no_grad():
                weights, alpha = self._weights(z, clock)
            return (_Entmax.apply(z, weights, alpha) * mask).to(logits.dtype)

    @cached_property
    def sparsity(self) -> Schedule:
        """Alpha over the search."""
        if self.start is None:
            return Constant(self.alpha)
        if self.stairs is None:
            return Linear(self.start, self.alpha)
        last = self.stairs - 1
        return Steps(tuple(self.start + (self.alpha - self.start) * (stair / last) for stair in range(self.stairs)))

    def _weights(self, z: Tensor, clock: Time) -> tuple[Tensor, Tensor]:
        """Entmax of z, without its gradient, and alpha."""
        now = self.sparsity(clock)
        alpha = now.to(z) if isinstance(now, Tensor) else z.new_full((), now)
        if self.start is None or self.start == self.alpha:
            if self.alpha < NEARLY_ONE:
                return z.softmax(-1), alpha
            if self.alpha in _SORTED:
                return _SORTED[self.alpha](z), alpha
            return _bisect(z, alpha), alpha
        # on the device and without branches, so that no step waits for it
        sparse = _bisect(z, alpha.clamp(min=NEARLY_ONE))
        return torch.where(alpha < NEARLY_ONE, z.softmax(-1), sparse), alpha


_SORTED = {1.5: entmax15, 2.0: sparsemax}
"""Those with an exact solution by sorting; the others are found by bisection."""
HALVINGS = 50
"""Of the interval that holds the threshold, as in the package; float64 can tell no more of them apart."""


def _bisect(z: Tensor, alpha: Tensor) -> Tensor:
    """Alpha-entmax of each row by bisection.

    The arithmetic is that of the package's `entmax_bisect`, which copies numbers from the host; a step would wait for
    them, and no CUDA graph can hold them. Here each kernel reads the device only, and there is always the same number.

    Args:
        z: [..., O] float64, with -inf for candidates that do not compete.
        alpha: 0-dim, above 1.

    Returns:
        [..., O]; each row sums to 1.
    """
    scaled, power = z * (alpha - 1), (alpha - 1).reciprocal()
    largest = scaled.amax(-1, keepdim=True)
    low = largest - 1  # there the largest entry alone makes 1; at the other end O equal entries would
    halves = 0.5 ** torch.arange(1, HALVINGS + 1, dtype=z.dtype, device=z.device)
    steps = (largest - torch.pow(1 / z.shape[-1], alpha - 1) - low) * halves  # [..., HALVINGS]
    for step in steps.unsqueeze(-1).unbind(-2):
        threshold = low + step
        weights = (scaled - threshold).clamp(min=0) ** power
        low = torch.where(weights.sum(-1, keepdim=True) >= 1, threshold, low)
    return weights / weights.sum(-1, keepdim=True)


class _Entmax(Function):
    """Gives weights their gradient. It can be differentiated again, which that of the package cannot at zeros."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, weights: Tensor, alpha: Tensor) -> Tensor:
        out = weights.view_as(weights)
        ctx.save_for_backward(out, alpha)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        p, alpha = ctx.saved_tensors
        alive = p > 0
        g = p.masked_fill(~alive, 1.0) ** (2.0 - alpha) * alive  # a power of zero has no derivative
        mean = (gradient * g).sum(-1, keepdim=True) / g.sum(-1, keepdim=True)
        return g * (gradient - mean), None, None
