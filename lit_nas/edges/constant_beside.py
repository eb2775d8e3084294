"""Edges with a constant beside their candidates: what GDAS adds for operations that it does not sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan
from lit_nas.edges.mixed_edge import MixedEdge

__all__ = ("ConstantBeside", "One")


@dataclass(frozen=True)
class One:
    """The number 1, whatever the state; edges that leave a state share it."""

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [1, 1, 1, 1], which sums with maps of any size."""
        return x.new_ones(1, 1, 1, 1)


@dataclass(frozen=True)
class ConstantBeside(EdgeKind):
    """Adds to the weighted sum of the candidates the factor that the mixture has for what is beside them.

    With `Unselected` that factor is 0 and has a gradient.
    """

    keeps_channels = False

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        return MixedEdge(plan.names, plan.channels, plan.stride, plan.style, One(), channels_out=plan.channels_out)
