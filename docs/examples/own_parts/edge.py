"""A kind of edge: the weighted sum of its candidates, times one factor that is learned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_nas.edges import Edge, EdgeKind, EdgePlan
from lit_nas.operations import build_operation


class ScaledEdge(Edge):
    """The candidates are called `operations`, so that each has a cost; engines run the edge as it is."""

    def __init__(self, plan: EdgePlan) -> None:
        super().__init__()
        self.operations = nn.ModuleDict(
            {name: build_operation(name, plan.channels, plan.stride, plan.style) for name in plan.names}
        )
        self.factor = nn.Parameter(torch.ones(()))

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`."""
        for name, weight in weights.items():
            yield self.factor * weight * self.operations[name](x)


@dataclass(frozen=True)
class ScaledEdges(EdgeKind):
    """Edges with a factor each."""

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        return ScaledEdge(plan)
