"""The engine that defines what the others must compute."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lit_nas.architecture import CellMixture
from lit_nas.engine.engine import Engine, MixedCell, edges_of, empty_node
from lit_nas.engine.probe import probe

__all__ = ("Reference",)


@dataclass(frozen=True)
class Reference(Engine):
    """One module after the other, as in the formula."""

    def __call__(self, cell: MixedCell, states: list[Tensor], mixture: CellMixture) -> list[Tensor]:
        """See `Engine`."""
        states, inputs, names, edges = list(states), len(states), cell.space.operations, edges_of(cell)
        for target in cell.space.targets:
            node: Tensor | None = None
            for index, (source, end) in enumerate(cell.space.edges):
                if end == target and mixture.active[index]:
                    weights = {names[column]: mixture.weights[index, column] for column in mixture.active[index]}
                    beside = None if mixture.beside is None else mixture.beside[index]
                    for term in edges[index].terms(states[source], weights, beside):
                        node = term if node is None else node + term
            states.append(empty_node(cell, states) if node is None else probe(cell, mixture, target, node, states))
        return states[inputs:]
