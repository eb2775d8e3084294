"""The architecture level of a search: parameters, masks and the clock, and the mixture made of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_nas.clock import Clock
from lit_nas.relaxations import Relaxation
from lit_nas.spaces import SearchSpace

__all__ = ("Architecture", "CellMixture", "Mixture")

Active = tuple[tuple[int, ...], ...]
"""For each of E edges the columns of the operations that are executed."""


@dataclass(frozen=True)
class CellMixture:
    """How the candidates of one cell type are mixed in one forward pass."""

    weights: Tensor
    """[E, O]: what the output of operation o on edge e is multiplied by."""
    active: Active
    """Which (edge, operation) pairs are executed. Host data, so that no step waits for the device; a pair that is
    left out contributes nothing, whatever its weight."""


Mixture = Mapping[str, CellMixture]
"""Cell type -> how its cells are mixed. Cells of a type share it."""


class Architecture(nn.Module):
    """All architecture parameters of a search, and nothing else.

    The parameters of cell type `c` are `logits[c]` of shape [E, O], rows in the order of `CellSpace.edges`, columns
    in the order of `CellSpace.operations`. Pruned candidates stay in the tensor and are masked.

    Args:
        space: What is searched.
        relaxation: How parameters become mixing weights.
    """

    def __init__(self, space: SearchSpace, relaxation: Relaxation) -> None:
        super().__init__()
        self.space = space
        self.relaxation = relaxation
        self.logits = nn.ParameterDict()
        for name, cell in space.cells.items():
            edges, operations = len(cell.edges), len(cell.operations)
            self.logits[name] = nn.Parameter(relaxation.initial(edges, operations))
            self.register_buffer(f"mask_{name}", torch.ones(edges, operations, dtype=torch.bool))
        self.clock = Clock()
        self._active: dict[str, Active] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module._active.clear())

    def mask(self, cell: str) -> Tensor:
        """Living candidates of a cell type, bool [E, O]. Read only; `prune` writes."""
        return self.get_buffer(f"mask_{cell}")

    def active(self, cell: str) -> Active:
        """Columns of the living candidates of each edge, on the host."""
        if cell not in self._active:
            rows = self.mask(cell).tolist()
            self._active[cell] = tuple(tuple(o for o, alive in enumerate(row) if alive) for row in rows)
        return self._active[cell]

    def count_active(self) -> int:
        """Number of living (edge, operation) pairs of all cell types."""
        return sum(len(columns) for cell in self.space.cells for columns in self.active(cell))

    def prune(self, cell: str, keep: Tensor) -> None:
        """Takes candidates out for good.

        Args:
            cell: Cell type.
            keep: bool [E, O]; a candidate lives on if it lives and is kept.
        """
        mask = self.mask(cell)
        mask &= keep.to(mask.device)
        self._active.pop(cell, None)

    def forward(self) -> Mixture:
        """The mixture of one forward pass, with gradients to the parameters."""
        return self.mix(self.relaxation)

    def mix(self, relaxation: Relaxation) -> Mixture:
        """The mixture under another relaxation than the own one, for one forward pass."""
        return {
            name: CellMixture(relaxation(logits, self.mask(name), self.clock), self.active(name))
            for name, logits in self.logits.items()
        }

    @torch.no_grad()
    def probabilities(self) -> dict[str, Tensor]:
        """Mixing weights by cell type, each [E, O] float64 on the CPU, for logs and derivation."""
        now = self.clock.moment()
        return {
            name: self.relaxation(logits.detach().cpu().double(), self.mask(name).cpu(), now)
            for name, logits in self.logits.items()
        }
