"""The draws of one step, made when they are first asked for and kept as long as the step lasts."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from lit_nas.architecture.inbound_edges import InboundEdges
from lit_nas.relaxations import Draw, Occasion, Relaxation, Updates
from lit_nas.relaxations.draw import generator_of, mask_of

if TYPE_CHECKING:
    from lit_nas.architecture.architecture import Architecture

__all__ = ("Draws", "Kind", "on_host")

Kind = Literal["operations", "edges"]
"""Which parameters of a cell: those of its operations, or those of its edges."""


class Draws:
    """What is random in the forward passes of a step.

    Args:
        architecture: Whose parameters they depend on, read at the first draw.
        updates: What the step updates.
        sample: Number of the draw, where a step has several.
    """

    def __init__(self, architecture: Architecture, updates: Updates, sample: int = 0) -> None:
        self._architecture, self.updates, self.sample = architecture, updates, sample
        self._made: dict[Hashable, Draw] = {}

    def find(self, kind: Kind, relaxation: Relaxation, cell: str, number: int) -> Draw | None:
        """What was drawn for a cell, on the device of the parameters; None where nothing is random.

        Args:
            kind: Of which parameters.
            relaxation: Theirs.
            cell: Cell type.
            number: Of the cell in the network.
        """
        if not relaxation.samples:
            return None
        key = kind, cell, number if relaxation.per_cell else None
        if key not in self._made:
            self._made[key] = self._draw(relaxation, *key)
        return self._made[key]

    def _draw(self, relaxation: Relaxation, kind: Kind, cell: str, number: int | None) -> Draw:
        architecture, logits = self._architecture, self._architecture.logits[cell]
        now, names = architecture.clock.moment(), architecture.cells[cell].operations
        parts = architecture.host_seed, int(now.step), self.updates, self.sample, kind, cell, number
        occasion = Occasion(names if kind == "operations" else (), self.updates, generator_of(*parts))
        draw = relaxation.draw(*self._host[kind, cell], now, occasion)
        return replace(draw, numbers=draw.numbers.to(logits.dtype).to(logits.device, non_blocking=True))

    @cached_property
    def _host(self) -> dict[tuple[Kind, str], tuple[Tensor, Tensor]]:
        return on_host(self._architecture)


@torch.no_grad()
def on_host(architecture: Architecture) -> dict[tuple[Kind, str], tuple[Tensor, Tensor]]:
    """All parameters with their masks, as float64 on the CPU; the device is waited for once.

    Args:
        architecture: Whose.

    Returns:
        By kind and cell type: those of operations are [E, O], those of edges [N, M] as `InboundEdges` has them.
    """
    values = [value.detach() for value in architecture.parameters()]
    flat = torch.cat([value.flatten() for value in values]).cpu().double()
    parts = [
        part.view(value.shape) for part, value in zip(flat.split([v.numel() for v in values]), values, strict=True)
    ]
    by_name = dict(zip((name for name, _ in architecture.named_parameters()), parts, strict=True))
    found: dict[tuple[Kind, str], tuple[Tensor, Tensor]] = {}
    for name, cell in architecture.cells.items():
        mask = mask_of(architecture.active(name), len(cell.operations))
        found["operations", name] = by_name[f"logits.{name}"], mask
        if f"edge_logits.{name}" in by_name:
            found["edges", name] = InboundEdges(cell).spread(by_name[f"edge_logits.{name}"], mask)
    return found
