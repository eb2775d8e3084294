"""Cells of one row that are DAGs with convolutions in common.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, section 3.1: weights may be shared within a row, which trains them more
often and lowers the correlation of ranks in long searches. Which convolutions are shared is not said: here those
between the same vertices, by their numbers in topological order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lit_nas.dags import PREFIX, Dag, parse_dag
from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan
from lit_nas.operations import DagConv, OperationStyle, connections, run_dag

if TYPE_CHECKING:
    from lit_nas.spaces import SearchSpace

__all__ = ("SharedDagConvs", "SharedDagEdge")


class SharedDagEdge(Edge):
    """DAGs with one pool of convolutions.

    What several cells compute of the same values is computed once in a step.

    Args:
        names: The candidates.
        channels: C.
        style: Whether convolutions have a bias.
    """

    def __init__(self, names: tuple[str, ...], channels: int, style: OperationStyle) -> None:
        super().__init__()
        self.dags: dict[str, Dag] = {name: parse_dag(name) for name in names}
        shared = dict.fromkeys(key for dag in self.dags.values() for key in connections(dag))
        self.pool = nn.ModuleDict({key: DagConv(channels, channels, style.conv_bias) for key in sorted(shared)})

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`."""
        known: dict[tuple[str | int, ...], Tensor] = {}
        for name, weight in weights.items():
            yield weight * run_dag(self.dags[name], self.pool, x, known=known)


@dataclass(frozen=True)
class SharedDagConvs(EdgeKind):
    """All cells of a row take the convolution between two vertices from one pool.

    Vertices have the numbers of the names, and the output has the number of vertices: so the convolution to the output
    of a small DAG is that of an edge in a larger one.
    """

    def check_space(self, space: SearchSpace) -> None:
        """See `EdgeKind`.

        Raises:
            ValueError: if there are candidates that are no DAGs.
        """
        names = {name for cell in space.cells.values() for name in cell.operations}
        if foreign := sorted(name for name in names if not name.startswith(PREFIX)):
            raise ValueError(
                f"SharedDagConvs shares the convolutions of DAGs, but the space '{space.name}' has the candidates "
                f"{', '.join(foreign)}: choose other edges (model.edges), or the space DagSpace (model.space)."
            )

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        if plan.stride != 1:
            raise ValueError(f"SharedDagConvs keeps height and width: it needs edges of stride 1, not {plan.stride}.")
        return SharedDagEdge(plan.names, plan.channels, plan.style)
