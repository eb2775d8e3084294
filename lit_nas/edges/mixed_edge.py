"""Edges whose candidates are modules of their own, whose weighted outputs are summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor, nn

from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan, Fusible
from lit_nas.operations import OperationStyle, build_operation

__all__ = ("MixedEdge", "PlainEdges")


class MixedEdge(Edge):
    """The weighted sum of the candidates, and what a kind of edge computes beside it.

    Args:
        names: The candidates.
        channels: How many of the first channels of a state they see; without `join` all of them.
        stride: 1 or 2.
        style: How the candidates are normalised.
        path: What is computed beside them, of all channels; see `Fusible`.
        join: Makes one value of the sum and what the path gives; None adds them.
        channels_out: C of the node; None means that of the candidates.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        channels: int,
        stride: int,
        style: OperationStyle,
        path: Callable[[Tensor], Tensor] | None = None,
        join: Callable[[Tensor, Tensor], Tensor] | None = None,
        channels_out: int | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.stride, self.channels_out = channels, stride, channels_out
        self.operations = nn.ModuleDict(
            {name: build_operation(name, channels, stride, style, channels_out) for name in names}
        )
        self.path, self.join = path, join

    @property
    def fusible(self) -> Fusible | None:
        """As the class says."""
        return Fusible(self.operations, None if self.join is None else self.channels, self.path, self.join)

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`."""
        seen = x if self.join is None else x[:, : self.channels]
        mixed = (weight * self.operations[name](seen) for name, weight in weights.items())
        if self.join is None:
            yield from mixed
        if self.path is not None:
            aside = self.path(x) if beside is None else beside * self.path(x)
            yield aside if self.join is None else self.join(reduce(add, mixed), aside)


@dataclass(frozen=True)
class PlainEdges(EdgeKind):
    """The mixture of DARTS: a weighted sum of candidates, and nothing beside it."""

    keeps_channels = False

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        return MixedEdge(plan.names, plan.channels, plan.stride, plan.style, channels_out=plan.channels_out)
