"""The engine that defines what the others must compute."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lit_nas.architecture import CellMixture
from lit_nas.engine.engine import Engine, MixedCell, empty_node

__all__ = ("Reference",)


@dataclass(frozen=True)
class Reference(Engine):
    """One module after the other, as in the formula."""

    def __call__(self, cell: MixedCell, states: list[Tensor], mixture: CellMixture) -> list[Tensor]:
        """See `Engine`."""
        states, inputs = list(states), len(states)
        for target in cell.space.targets:
            node: Tensor | None = None
            for index, (source, end) in enumerate(cell.space.edges):
                if end != target:
                    continue
                for o in mixture.active[index]:
                    operation = cell.edges[index].operations[cell.space.operations[o]]
                    term = mixture.weights[index, o] * operation(states[source])
                    node = term if node is None else node + term
            states.append(empty_node(cell, states) if node is None else node)
        return states[inputs:]
