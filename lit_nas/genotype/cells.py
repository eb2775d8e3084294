"""Discrete cells."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ("CellGenotype", "Edge")


class Edge(NamedTuple):
    """One chosen operation of a cell; the module that mixes candidates during a search is `lit_nas.edges.Edge`."""

    operation: str
    source: int
    """State that it reads."""
    target: int
    """Node that it is added to."""


@dataclass(frozen=True)
class CellGenotype:
    """The discrete DAG of one cell type.

    States 0 .. inputs - 1 are the inputs of a cell, the following ones its nodes; a node is the sum of its inbound
    edges. A node may have any number of them, also several from one source. A node without any may exist, but
    nothing may read it.

    Raises:
        ValueError: if an edge does not point forward, or something reads a node that has no inbound edge.
    """

    edges: tuple[Edge, ...]
    """Grouped by target; within a node the order is kept, by convention the strongest edge first."""
    concat: tuple[int, ...]
    """States whose channels are concatenated to the output."""
    inputs: int = 2
    """Number of input states."""

    def __post_init__(self) -> None:
        edges = sorted((Edge(*edge) for edge in self.edges), key=lambda edge: edge.target)  # stable
        object.__setattr__(self, "edges", tuple(edges))
        object.__setattr__(self, "concat", tuple(self.concat))
        if self.inputs < 1:
            raise ValueError(f"inputs must be at least 1, not {self.inputs}.")
        if not edges:
            raise ValueError("nodes must hold at least one edge.")
        for edge in edges:
            if not 0 <= edge.source < edge.target:
                raise ValueError(
                    f"The edge '{edge.operation}' of state {edge.target} reads state {edge.source}. An edge points "
                    f"forward: allowed are the states 0 to {edge.target - 1}."
                )
            if edge.target < self.inputs:
                raise ValueError(f"The edge '{edge.operation}' leads to state {edge.target}, which is an input.")
        fed = {edge.target for edge in edges}
        for edge in edges:
            if edge.source >= self.inputs and edge.source not in fed:
                raise ValueError(
                    f"The edge '{edge.operation}' of state {edge.target} reads node state {edge.source}, which has "
                    f"no inbound edge. Allowed are the inputs 0 to {self.inputs - 1} and the states {sorted(fed)}."
                )
        if not self.concat or len(set(self.concat)) < len(self.concat) or not fed.issuperset(self.concat):
            raise ValueError(
                f"concat is {list(self.concat)}, but it must name nodes with inbound edges, each once, and at least "
                f"one. Allowed are {sorted(fed)}."
            )

    @property
    def num_nodes(self) -> int:
        """Number of nodes up to the last one that has an inbound edge."""
        return self.edges[-1].target + 1 - self.inputs

    def inbound(self, state: int) -> tuple[Edge, ...]:
        """Edges of one node, strongest first."""
        return tuple(edge for edge in self.edges if edge.target == state)
