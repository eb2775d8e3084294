"""Edges with a constant beside their candidates: what GDAS adds for operations that it does not sample."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lit_nas.edges.edge import Edge, EdgeKind
from lit_nas.edges.mixed_edge import MixedEdge
from lit_nas.operations import OperationStyle

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

    def build(
        self,
        names: tuple[str, ...],
        channels: int,
        stride: int,
        style: OperationStyle,
        channels_out: int | None = None,
    ) -> Edge:
        """See `EdgeKind`."""
        return MixedEdge(names, channels, stride, style, One(), channels_out=channels_out)
