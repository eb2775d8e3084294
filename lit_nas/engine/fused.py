"""The fast engine: what the candidates that leave a state have in common is computed once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lit_nas.architecture import CellMixture
from lit_nas.engine.candidates import add, weighted_sums
from lit_nas.engine.engine import Engine, MixedCell, empty_node
from lit_nas.engine.source import Source

__all__ = ("Fused",)

BATCHED_BELOW = 2**19
"""On a CPU the edges of a state of fewer elements run as one batch of kernels."""


@dataclass(frozen=True)
class Fused(Engine):
    """Shares work between the edges that leave a state and folds the mixing weights into BatchNorm."""

    checkpoint: bool = False
    """Whether to keep only the states of a cell for the backward pass and compute the rest a second time."""
    compile: bool = False
    """Whether the convolutional candidates run as compiled code; the first steps then take minutes."""
    batch_edges: bool | None = None
    """Whether the edges that leave a state run as one batch of kernels; None decides by device and size."""

    @property
    def recomputes(self) -> bool:
        """See `Engine`."""
        return self.checkpoint

    def __call__(self, cell: MixedCell, states: list[Tensor], mixture: CellMixture) -> list[Tensor]:
        """See `Engine`.

        Raises:
            TypeError: if an edge is of a kind that this engine does not know.
        """
        for edge in cell.edges:
            if type(edge).__name__ != "MixedEdge":
                raise TypeError(f"Fused cannot run edges of type {type(edge).__name__}; choose the engine Reference.")
        space, rows = cell.space, mixture.weights.unbind()
        nodes: dict[int, Tensor] = {}
        states, inputs = [state.contiguous(memory_format=torch.channels_last) for state in states], len(states)
        for source in range(space.targets[-1]):
            if source >= inputs:
                states.append(nodes.setdefault(source, empty_node(cell, states)))
            edges = [e for e, (start, _) in enumerate(space.edges) if start == source and mixture.active[e]]
            if edges:
                terms = self._leave(cell, states[source], edges, [rows[e] for e in edges], mixture)
                for e, term in zip(edges, terms, strict=True):
                    nodes[space.edges[e][1]] = add(nodes.get(space.edges[e][1]), term)
        return [nodes[target] if target in nodes else empty_node(cell, states) for target in space.targets]

    def _leave(
        self, cell: MixedCell, state: Tensor, edges: list[int], rows: list[Tensor], mixture: CellMixture
    ) -> list[Tensor]:
        stride, names = cell.space.stride(edges[0]), cell.space.operations
        operations = [{o: cell.edges[e].operations[names[o]] for o in mixture.active[e]} for e in edges]
        batched = self.batch_edges
        if batched is None:
            batched = state.device.type != "cpu" or state.numel() < BATCHED_BELOW
        update = True

        def run(state: Tensor, *rows: Tensor) -> list[Tensor]:
            nonlocal update
            source, update = Source(state, stride, update, self.compile), False  # a second run sees the same batch
            return weighted_sums(source, operations, [row.unbind() for row in rows], batched)

        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(run, state, *rows, use_reentrant=False)
        return run(state, *rows)
