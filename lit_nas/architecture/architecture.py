"""All architecture parameters of a search."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from lit_nas.architecture.draws import Draws, on_host
from lit_nas.architecture.inbound_edges import InboundEdges
from lit_nas.architecture.mixing import edge_weights, inbound_edges, mix_cells
from lit_nas.architecture.mixture import Mixture, Unselected
from lit_nas.clock import Clock, Moment
from lit_nas.relaxations import Active, Best, Draw, Mean, Relaxation, Updates
from lit_nas.relaxations.draw import active_columns, mask_of
from lit_nas.schedules import Schedule
from lit_nas.spaces import SearchSpace

__all__ = ("Architecture",)


class Architecture(nn.Module):
    """All architecture parameters of a search, and nothing else.

    The parameters of cell type `c` are `logits[c]` of shape [E, O], rows in the order of `CellSpace.edges`, columns
    in the order of `CellSpace.operations`, unless the relaxation says otherwise (`Relaxation.for_cell`). Candidates
    that an edge does not have, or that were pruned, stay in the tensor and are masked. Where edges are weighted, too,
    their parameters are `edge_logits[c]` of shape [E], normalised over the edges that lead to a node.

    What a relaxation draws follows from the seed, the step, what it updates, the cell type (or the cell, where each has
    a draw of its own) and the number of the sample. So it is the same on all processes, in all parts of an accumulated
    batch, in all passes of a second-order step, under recomputation, and when a run continues.

    Args:
        space: What is searched.
        relaxation: How parameters become mixing weights.
        edge_relaxation: How parameters of edges become weights of edges; None has no such parameters.
        beside: Factor of what an edge computes beside its candidates (an auxiliary path, for example) over the search,
            or what follows from the candidates that are not sampled; None is 1.
        evaluation: Whether a network that is evaluated mixes its candidates by their probabilities (`mean`), or has
            the most probable one on each edge (`best`).

    Raises:
        ValueError: for another kind of evaluation.
    """

    seed: Tensor

    def __init__(
        self,
        space: SearchSpace,
        relaxation: Relaxation,
        edge_relaxation: Relaxation | None = None,
        beside: Schedule | Unselected | None = None,
        evaluation: Literal["mean", "best"] = "mean",
    ) -> None:
        super().__init__()
        if evaluation not in ("mean", "best"):
            raise ValueError(f"evaluation must be `mean` or `best`, not {evaluation!r}.")
        self.space, self.relaxation, self.edge_relaxation = space, relaxation, edge_relaxation
        self.beside, self.evaluation = beside, evaluation
        self.cells = space.cells  # properties of spaces, which make them anew
        self.positions = tuple(position.cell for position in space.layout)
        self.logits = nn.ParameterDict()
        for name, cell in self.cells.items():
            mask = mask_of(cell.allowed, len(cell.operations))
            self.logits[name] = nn.Parameter(relaxation.for_cell(cell).initial(mask))
            self.register_buffer(f"mask_{name}", mask)
        if edge_relaxation is not None and not edge_relaxation.of_edges:
            raise ValueError(
                f"model.edge_relaxation is {type(edge_relaxation).__name__}, which is for operations alone: choose "
                "another one."
            )
        if edge_relaxation is not None:
            self._add_edge_logits(edge_relaxation)
        self.clock = Clock()
        # not drawn: a search that samples nothing must not use up random numbers
        self.register_buffer("seed", torch.tensor(torch.initial_seed() % 2**63))
        self._active: dict[str, Active] = {}
        self._host_seed: int | None = None
        self._draws: Draws | None = None
        self._change: Callable[[Mixture], Mixture] | None = None
        # torch has no types for it
        self.register_load_state_dict_post_hook(lambda module, _: module.forget())  # type: ignore[no-untyped-call]

    def _add_edge_logits(self, relaxation: Relaxation) -> None:
        self.edge_logits, self.inbound = nn.ParameterDict(), nn.ModuleDict()
        for name, cell in self.cells.items():
            self.inbound[name] = inbound = InboundEdges(cell)
            _, alive = inbound.spread(torch.zeros(len(cell.edges)), self.mask(name))
            self.edge_logits[name] = nn.Parameter(inbound.gather(relaxation.initial(alive)))

    # -- state -------------------------------------------------------------------------------------------------------

    def mask(self, cell: str) -> Tensor:
        """Active candidates of a cell type, bool [E, O]. Read only; `prune` writes."""
        return self.get_buffer(f"mask_{cell}")

    def active(self, cell: str) -> Active:
        """Columns of the active candidates of each edge, on the host."""
        if cell not in self._active:
            self._active[cell] = active_columns(self.mask(cell))
        return self._active[cell]

    def count_active(self) -> int:
        """Number of active (edge, operation) pairs of all cell types."""
        return sum(len(columns) for cell in self.cells for columns in self.active(cell))

    @property
    def pruned(self) -> bool:
        """Whether an edge has lost one of the candidates that it was built with."""
        return any(self.active(name) != cell.allowed for name, cell in self.cells.items())

    def prune(self, cell: str, keep: Tensor) -> None:
        """Takes candidates out permanently.

        Args:
            cell: Cell type.
            keep: bool [E, O]; an active candidate stays so if it is kept.
        """
        mask = self.mask(cell)
        mask &= keep.to(mask.device)
        self._active.pop(cell, None)

    @property
    def host_seed(self) -> int:
        """The seed of all draws, on the host."""
        if self._host_seed is None:
            self._host_seed = int(self.seed)
        return self._host_seed

    def forget(self) -> None:
        """Forgets what it knows on the host of its buffers, which something else has written to."""
        self._active.clear()
        self._host_seed = None
        self.clock.forget()

    # -- mixture -----------------------------------------------------------------------------------------------------

    @property
    def samples(self) -> bool:
        """Whether steps draw what they compute."""
        return self.relaxation.samples or (self.edge_relaxation is not None and self.edge_relaxation.samples)

    @property
    def skips(self) -> bool:
        """Whether steps may leave out candidates, whose weights then have no gradient."""
        return self.relaxation.skips or (self.edge_relaxation is not None and self.edge_relaxation.skips)

    @contextmanager
    def drawing(self, updates: Updates, sample: int = 0) -> Iterator[None]:
        """All forward passes within see one draw, which knows the parameters as they are when it is first needed.

        Args:
            updates: What this step updates.
            sample: Number of the draw, where a step has several.
        """
        before, self._draws = self._draws, Draws(self, updates, sample)
        try:
            yield
        finally:
            self._draws = before

    @property
    def drawn_for(self) -> tuple[Updates, int]:
        """What the present step updates and the number of its draw, see `drawing`; outside of a step, the weights."""
        return ("weights", 0) if self._draws is None else (self._draws.updates, self._draws.sample)

    @contextmanager
    def changed(self, change: Callable[[Mixture], Mixture]) -> Iterator[None]:
        """Lets forward passes within see a changed mixture; parameters and probabilities stay as they are.

        Args:
            change: Makes the mixture that they see of that which they would see.
        """
        before, self._change = self._change, change
        try:
            yield
        finally:
            self._change = before

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Within, an optimiser steps the parameters; after it the relaxation settles them.

        Raises:
            RuntimeError: outside of `drawing`, if the relaxation must know what the step has drawn.
        """
        relaxation = self.relaxation
        if not relaxation.settles:
            yield
            return
        if self._draws is None:
            raise RuntimeError(f"{type(relaxation).__name__} settles what a step has drawn: step within `drawing`.")
        before = {name: logits.detach().clone() for name, logits in self.logits.items()}
        draws = {
            name: self._draws.find("operations", relaxation, name, number) for number, name in enumerate(self.positions)
        }
        yield
        with torch.no_grad():
            for name, logits in self.logits.items():
                draw = draws[name] or Draw(self.active(name))
                logits.copy_(self._bound(name).settled(before[name], logits, self.mask(name), draw))

    @torch.no_grad()
    def executed(self) -> list[Tensor]:
        """For each parameter which of its entries take part in the present step, bool and of its shape."""
        found = {name: self.mask(name) for name in self.cells}
        if self.samples:
            rows = {name: torch.zeros(mask.shape, dtype=torch.bool) for name, mask in found.items()}
            for name, cell in zip(self.positions, self(), strict=True):
                rows[name] |= mask_of(cell.active, rows[name].shape[-1])
            found = {name: row.to(found[name].device, non_blocking=True) for name, row in rows.items()}
        edges = [] if self.edge_relaxation is None else [found[name].any(-1) for name in self.edge_logits]
        return [*(found[name] for name in self.logits), *edges]

    def forward(self) -> Mixture:
        """The mixture of one forward pass, with gradients to the parameters.

        In training mode it is that of the draw, see `drawing`; outside of that, of one for a step of the weights. In
        evaluation mode it is what `evaluation` says, and nothing changes it.
        """
        own, edges = self.relaxation, self.edge_relaxation
        if self.training:
            mixture = mix_cells(self, own, edges, self._draws)
            return mixture if self._change is None else self._change(mixture)
        own = Best(own) if self.evaluation == "best" else Mean(own)
        if edges is not None:  # edges are chosen only where they are drawn
            edges = Best(edges) if self.evaluation == "best" and edges.samples else Mean(edges)
        return mix_cells(self, own, edges)

    def mix(self, relaxation: Relaxation) -> Mixture:
        """The mixture by the probabilities of another relaxation than the own one, for one forward pass."""
        return mix_cells(self, Mean(relaxation), None if self.edge_relaxation is None else Mean(self.edge_relaxation))

    def log_densities(self) -> tuple[Tensor, ...]:
        """How probable what was drawn for each cell of the network is, see `Relaxation.log_density`.

        Cells that share a draw share the tensor.

        It is that of the draw of a step, see `drawing`; outside of that, of one for a step of the weights.

        Raises:
            ValueError: if the relaxation draws nothing, or cannot say how probable its draws are.
        """
        draws = Draws(self, "weights") if self._draws is None else self._draws
        found: dict[tuple[str, int | None], Tensor] = {}
        each = []
        for number, name in enumerate(self.positions):
            if (key := (name, number if self.relaxation.per_cell else None)) not in found:
                bound = self._bound(name)
                if (drawn := draws.find("operations", bound, name, number)) is None:
                    raise ValueError(f"{type(self.relaxation).__name__} draws nothing, so that nothing has a density.")
                found[key] = bound.log_density(self.logits[name], self.mask(name), self.clock, drawn)
            each.append(found[key])
        return tuple(each)

    def soft_samples(self) -> dict[str, Tensor]:
        """The soft sample of the draw of a step by cell type, [E, O], with gradients (`Relaxation.soft_sample`).

        Outside of a step it is that of a draw for the architecture.

        Raises:
            ValueError: if the relaxation has none, or each cell has its own.
        """
        if self.relaxation.per_cell:
            raise ValueError(f"Each cell has a sample of its own with per_cell of {type(self.relaxation).__name__}.")
        draws, found = Draws(self, "arch") if self._draws is None else self._draws, {}
        for name, logits in self.logits.items():
            bound = self._bound(name)
            draw = draws.find("operations", bound, name, 0) or Draw(self.active(name))
            found[name] = bound.soft_sample(logits, self.mask(name), self.clock, draw)
        return found

    def expected(self) -> dict[str, Tensor]:
        """Mixing weights without noise by cell type, each [E, O] on the device, with gradients to the parameters.

        Within `drawing` they are what the relaxation expects of the step, see `Relaxation.expected`.
        """
        found = {}
        for name, logits in self.logits.items():
            relaxation, mask, draw = self._bound(name), self.mask(name), self._drawn(name)
            found[name] = (
                relaxation.probabilities(logits, mask, self.clock)
                if draw is None
                else relaxation.expected(logits, mask, self.clock, draw)
            )
        return found

    def _bound(self, name: str) -> Relaxation:
        """What turns the parameters of a cell type into weights."""
        return self.relaxation.for_cell(self.cells[name])

    def _drawn(self, name: str) -> Draw | None:
        """What the present step has drawn for all cells of a type; None where it has not, or each has its own."""
        if self._draws is None or self.relaxation.per_cell:
            return None
        return self._draws.find("operations", self._bound(name), name, 0)

    def expected_edges(self) -> dict[str, Tensor]:
        """Weights of edges without noise by cell type, each [E], with gradients; empty where edges have none."""
        if self.edge_relaxation is None:
            return {}
        return {name: edge_weights(self, name, self.edge_relaxation) for name in self.cells}

    def rivals(self) -> dict[str, Tensor]:
        """How many edges with a candidate share a node with each, int64 [E] by cell type; empty like the weights."""
        if self.edge_relaxation is None:
            return {}
        return {name: inbound_edges(self, name).rivals(self.mask(name)) for name in self.cells}

    # -- probabilities -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def probabilities(self) -> dict[str, Tensor]:
        """Mixing weights without noise by cell type, each [E, O] float64 on the CPU, for logs and pruning."""
        return self._of_cells(lambda relaxation: relaxation.probabilities)

    @torch.no_grad()
    def edge_probabilities(self) -> dict[str, Tensor]:
        """Weights of the edges without noise by cell type, each [E] float64 on the CPU; empty where edges have none."""
        if self.edge_relaxation is None:
            return {}
        now, host, relaxation = self.clock.moment(), on_host(self), self.edge_relaxation
        return {
            name: InboundEdges(cell).gather(relaxation.probabilities(*host["edges", name], now))
            for name, cell in self.cells.items()
        }

    def compared(self, by: Literal["importance", "logits"]) -> dict[str, Tensor]:
        """What a deriver is handed, by cell type, each [E, O] float64 on the CPU.

        Args:
            by: `importance`, or the parameters themselves.

        Raises:
            ValueError: for parameters of operations where edges have weights, which would not count.
        """
        if by == "importance":
            return self.importance()
        if self.edge_relaxation is not None:
            raise ValueError(
                "A deriver by logits ignores the weights of edges, which this method learns: set model.deriver.by to "
                "probability."
            )
        return {name: self.logits[name].detach().double().cpu() for name in self.cells}

    def importance(self) -> dict[str, Tensor]:
        """What derivation compares, by cell type, each [E, O] float64 on the CPU, times the weights of their edges."""
        tables, edges = self._of_cells(lambda relaxation: relaxation.importance), self.edge_probabilities()
        return {name: table * edges[name].unsqueeze(-1) if edges else table for name, table in tables.items()}

    def entropy(self) -> dict[str, float]:
        """Entropy of everything that the relaxation of the operations decides by cell type, in nats."""
        return {name: float(value) for name, value in self._of_cells(lambda relaxation: relaxation.entropy).items()}

    @torch.no_grad()
    def _of_cells(self, what: Callable[[Relaxation], Callable[[Tensor, Tensor, Moment], Tensor]]) -> dict[str, Tensor]:
        """What the relaxation says of the parameters of each cell type, on the host."""
        now, host = self.clock.moment(), on_host(self)
        return {name: what(self._bound(name))(*host["operations", name], now) for name in self.cells}
