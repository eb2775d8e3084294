"""A limit of skip connections in a derived cell.

Paper: Chen et al., "P-DARTS", ICCV 2019, https://arxiv.org/abs/1904.12760, section 3.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_nas.derivation.default import default_deriver
from lit_nas.derivation.deriver import Deriver, Masks, choices
from lit_nas.genotype import Edge, Genotype
from lit_nas.operations import original
from lit_nas.spaces import SearchSpace

__all__ = ("LimitedSkips",)

SKIP = "skip_connect"


@dataclass(frozen=True)
class LimitedSkips(Deriver):
    """Another rule, under which a cell has a limited number of skip connections.

    While a derived cell has too many of them, the least probable one is forbidden on its edge, and all cells are
    derived anew from what is left; new skip connections may then come in, and count. An edge that has nothing else
    disappears. Of equally probable ones the first is forbidden. Edges of a node come in the order of their sources, as
    the authors list them.

    Raises:
        ValueError: if the limit is negative or no cell is named.
    """

    limit: int = 2
    """M, the largest number of skip connections; the authors recommend 2."""
    rule: Deriver | None = None
    """What derives; None is the rule of the space, `TopEdges` in that of DARTS."""
    cells: tuple[str, ...] = ("normal",)
    """The cell types that are limited; others may have any number."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(self.cells))  # lists come from YAML
        if self.limit < 0:
            raise ValueError(f"LimitedSkips.limit (model.deriver.limit) must not be negative, but is {self.limit}.")
        if not self.cells:
            raise ValueError("LimitedSkips.cells (model.deriver.cells) names no cell. Leave LimitedSkips out.")

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor], masks: Masks | None = None) -> Genotype:
        """See `Deriver`."""
        if unknown := [name for name in self.cells if name not in space.cells]:
            raise ValueError(
                f"LimitedSkips.cells (model.deriver.cells) names {unknown}, but the space has {', '.join(space.cells)}."
            )
        rule = default_deriver(space) if self.rule is None else self.rule
        allowed = _masks(space, masks)
        genotype = rule(space, probabilities, allowed)
        while (weakest := self._excess(space, genotype, probabilities, allowed)) is not None:
            name, edge, column = weakest
            allowed[name][edge, column] = False
            genotype = rule(space, probabilities, allowed)
        return _in_order_of_sources(genotype)

    def _excess(
        self, space: SearchSpace, genotype: Genotype, probabilities: Mapping[str, Tensor], allowed: Masks
    ) -> tuple[str, int, int] | None:
        """Cell type, edge and column of the skip connection that has to go next; None if no cell has too many.

        Where a space has several copies of it, that of an edge is the most probable one that is still allowed.
        """
        for name in self.cells:
            cell, chosen = space.cells[name], genotype.cells[name].edges
            skips = sorted(cell.edges.index((edge.source, edge.target)) for edge in chosen if edge.operation == SKIP)
            if len(skips) > self.limit:
                columns = [column for column, operation in enumerate(cell.operations) if original(operation) == SKIP]
                values = probabilities[name].masked_fill(~allowed[name], -1.0)[:, columns]
                best = values.max(-1).values.tolist()
                edge = min(skips, key=best.__getitem__)  # the first of equals
                return name, edge, columns[int(values[edge].argmax())]
        return None


def _masks(space: SearchSpace, masks: Masks | None) -> dict[str, Tensor]:
    """What may be chosen, in tensors that may be changed."""
    found = {}
    for name, cell in space.cells.items():
        found[name] = torch.zeros(len(cell.edges), len(cell.operations), dtype=torch.bool)
        for row, columns in zip(found[name], choices(cell, (), masks), strict=True):
            row[columns] = True
    return found


def _in_order_of_sources(genotype: Genotype) -> Genotype:
    def place(edge: Edge) -> tuple[int, int]:
        return edge.target, edge.source

    cells = {name: replace(cell, edges=tuple(sorted(cell.edges, key=place))) for name, cell in genotype.cells.items()}
    return replace(genotype, cells=cells)
