"""From parameters to the mixture of one forward pass: for each cell the weights of its candidates and of its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor

from lit_nas.architecture.draws import Draws
from lit_nas.architecture.inbound_edges import InboundEdges
from lit_nas.architecture.mixture import CellMixture, Mixture, Unselected
from lit_nas.clock import Clock
from lit_nas.relaxations import Draw, Relaxation

if TYPE_CHECKING:
    from lit_nas.architecture.architecture import Architecture

__all__ = ("edge_weights", "inbound_edges", "mix_cells")


def mix_cells(
    architecture: Architecture, relaxation: Relaxation, edges: Relaxation | None, draws: Draws | None = None
) -> Mixture:
    """The mixture of every cell; cells of a type share one unless each has a draw of its own.

    Args:
        architecture: Whose parameters become weights.
        relaxation: How those of operations do.
        edges: How those of edges do; None where edges have none.
        draws: Of the step; None is a step of the weights.
    """
    draws = Draws(architecture, "weights") if draws is None else draws
    per_cell = relaxation.per_cell or (edges is not None and edges.per_cell)
    found: dict[tuple[str, int | None], CellMixture] = {}
    cells = []
    for number, name in enumerate(architecture.positions):
        key = name, number if per_cell else None
        if key not in found:
            bound = relaxation.for_cell(architecture.cells[name])
            own = draws.find("operations", bound, name, number)
            drawn = None if edges is None else draws.find("edges", edges, name, number)
            found[key] = _mix_cell(architecture, name, bound, own, edges, drawn)
        cells.append(found[key])
    return tuple(cells)


def edge_weights(architecture: Architecture, name: str, relaxation: Relaxation, drawn: Draw | None = None) -> Tensor:
    """The weights of the edges of a cell type, [E], with gradients.

    Args:
        architecture: Whose edges have parameters.
        name: Cell type.
        relaxation: How the parameters become weights.
        drawn: What was drawn of them; None gives their probabilities.
    """
    inbound = inbound_edges(architecture, name)
    logits, has_candidate = inbound.spread(architecture.edge_logits[name], architecture.mask(name))
    return inbound.gather(_weigh(relaxation, logits, has_candidate, architecture.clock, drawn))


def inbound_edges(architecture: Architecture, name: str) -> InboundEdges:
    """Which edges lead to each node of a cell type.

    Args:
        architecture: Whose edges have parameters.
        name: Cell type.
    """
    return cast(InboundEdges, architecture.inbound[name])


def _mix_cell(
    architecture: Architecture,
    name: str,
    relaxation: Relaxation,
    own: Draw | None,
    edges: Relaxation | None,
    drawn: Draw | None,
) -> CellMixture:
    logits, mask, clock = architecture.logits[name], architecture.mask(name), architecture.clock
    weights = _weigh(relaxation, logits, mask, clock, own)
    active, probed = (architecture.active(name), ()) if own is None else (own.active, own.probed)
    beside = _beside(architecture, weights, own is not None)
    if edges is not None:
        factors = edge_weights(architecture, name, edges, drawn)
        weights, beside = weights * factors.unsqueeze(-1), factors if beside is None else beside * factors
        if drawn is not None:
            executed = inbound_edges(architecture, name).executed(drawn.active)
            active = tuple(columns if edge in executed else () for edge, columns in enumerate(active))
    return CellMixture(weights, active, beside, probed)


def _beside(architecture: Architecture, weights: Tensor, sampled: bool) -> Tensor | None:
    beside = architecture.beside
    if isinstance(beside, Unselected):
        return beside(weights, sampled)
    return None if beside is None else weights.new_ones(len(weights)) * beside(architecture.clock)


def _weigh(relaxation: Relaxation, logits: Tensor, mask: Tensor, clock: Clock, draw: Draw | None) -> Tensor:
    if draw is None:
        return relaxation.probabilities(logits, mask, clock)
    return relaxation.weights(logits, mask, clock, draw)
