"""Derivation that keeps to the targets of costs: a few choices are changed for the next probable ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from lit_nas.derivation import Deriver, EmptyCellError, Masks
from lit_nas.genotype import Genotype
from lit_nas.networks.derived_costs import NetworkCosts
from lit_nas.operations import original
from lit_nas.regularizers import CostTarget
from lit_nas.spaces import SearchSpace

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("land", "targets_of")


class _Swap(NamedTuple):
    """Two candidates of an edge that change places."""

    cell: str
    edge: int
    column: int
    other: int
    excess: float
    """What is left of the excess after it, by the table."""
    regret: float
    """How much less probable the other one is."""


def targets_of(module: SearchParts) -> list[tuple[CostTarget, NetworkCosts]]:
    """The targets that derivation keeps to, with the costs that they are about.

    Args:
        module: The search.
    """
    parts = [part for part in module.optim.regularizers if isinstance(part, CostTarget) and part.correction is not None]
    return [(part, module.regularisation.network_costs(part.measure, part.costed)) for part in parts]


def land(
    space: SearchSpace,
    rule: Deriver,
    compared: Mapping[str, Tensor],
    masks: Masks,
    targets: Sequence[tuple[CostTarget, NetworkCosts]],
) -> Genotype:
    """What a rule derives, with as few choices changed as possible until all costs are near their targets.

    Two candidates of an edge change places in what the rule compares, so that the edge stays as strong as it was. Of
    the changes that bring costs nearer, the one with the least regret for what it brings is made, and so on, until all
    costs are near enough or none is left that helps.

    Args:
        space: What is searched.
        rule: How it is derived.
        compared: What the rule compares, [E, O] by cell type; it is not changed.
        masks: Active candidates, bool [E, O] by cell type.
        targets: With their costs.

    Returns:
        The genotype; that of the rule itself where costs are near enough.

    Raises:
        EmptyCellError: if no operation of a cell is left.
    """
    compared = {name: table.clone() for name, table in compared.items()}
    genotype = rule(space, compared, masks)
    excess = _excess(targets, [costs.of(genotype) for _, costs in targets])
    while excess > 0:
        swaps = _swaps(space, rule, compared, masks, genotype, targets, excess)
        for swap in sorted(swaps, key=lambda swap: (swap.regret / (excess - swap.excess), swap.excess)):
            _exchange(compared[swap.cell], swap)
            try:
                found = rule(space, compared, masks)
                left = _excess(targets, [costs.of(found) for _, costs in targets])
            except EmptyCellError:
                left = excess
            if left < excess - 1e-12:
                genotype, excess = found, left
                break
            _exchange(compared[swap.cell], swap)  # the rule makes something else of it
        else:
            return genotype
    return genotype


def _excess(targets: Sequence[tuple[CostTarget, NetworkCosts]], values: Sequence[float]) -> float:
    """How far costs lie outside of what is near enough, as a sum of logarithms."""
    total = 0.0
    for (part, _), value in zip(targets, values, strict=True):
        distance, near = log(max(value, 1e-12) / part.target), log(1 + (part.correction or 0.0))
        total += max(distance - near, 0.0) if part.sides != "lower" else 0.0
        total += max(-distance - near, 0.0) if part.sides != "upper" else 0.0
    return total


def _swaps(
    space: SearchSpace,
    rule: Deriver,
    compared: Mapping[str, Tensor],
    masks: Masks,
    genotype: Genotype,
    targets: Sequence[tuple[CostTarget, NetworkCosts]],
    excess: float,
) -> list[_Swap]:
    """The changes of one choice that bring costs nearer to their targets, by the tables."""
    values, found = [costs.of(genotype) for _, costs in targets], []
    for name, cell in space.cells.items():
        barred = {*getattr(rule, "exclude", ()), *(() if cell.keeps_none else ("none",))}
        rows, active = compared[name].tolist(), masks[name].tolist()
        tables = [costs.by_type[name].tolist() for _, costs in targets]
        for chosen in genotype.cells[name].edges:
            edge = cell.edges.index((chosen.source, chosen.target))
            names = cell.operations
            own = [o for o in cell.allowed[edge] if original(names[o]) == chosen.operation]
            others = [
                o
                for o in cell.allowed[edge]
                if active[edge][o] and o not in own and not {names[o], original(names[o])} & barred
            ]
            if not own:
                continue
            column = max(own, key=rows[edge].__getitem__)
            for other in others:
                after = [
                    value + table[edge][other] - table[edge][column]
                    for value, table in zip(values, tables, strict=True)
                ]
                if (left := _excess(targets, after)) < excess - 1e-12:
                    regret = max(rows[edge][column] - rows[edge][other], 0.0)
                    found.append(_Swap(name, edge, column, other, left, regret))
    return found


def _exchange(table: Tensor, swap: _Swap) -> None:
    pair = [swap.column, swap.other]
    table[swap.edge, pair] = table[swap.edge, pair[::-1]]
