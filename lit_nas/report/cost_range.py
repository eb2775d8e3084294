"""Which costs the networks of a search space have: the least, the median and the most, and what lies next to a target.

Costs are those of derived networks, as they are retrained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

import torch
from torch import Tensor

from lit_nas.derivation import Deriver, EmptyCellError
from lit_nas.genotype import Genotype
from lit_nas.networks.derived_costs import NetworkCosts
from lit_nas.relaxations.draw import mask_of
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("REACHED", "CostRange", "Nearest", "format_range")

REACHED = 0.1
"""Part of a target by which the nearest network that was found may differ for the target to count as reachable."""
STEPS = 600
"""Networks that are looked at on the way to a target."""

Choices = dict[str, dict[int, int]]
"""Cell type -> edge -> column of its operation, in the order of their rank."""


@dataclass(frozen=True)
class Nearest:
    """The network next to a target that was found."""

    cost: float
    """What it costs."""
    deviation: float
    """cost / target - 1."""

    @property
    def reached(self) -> bool:
        """Whether that is near enough."""
        return abs(self.deviation) <= REACHED


class CostRange:
    """What the networks cost that a rule may derive in a space.

    The least and the most follow from the sum over edges of the cheapest and the dearest operation, of those edges that
    the rule keeps. They are derived as a search would, from parameters that prefer them, so that a rule with other
    limits (`LimitedSkips`) is obeyed; the ends are then those that were found, and need not be the outermost ones.

    Args:
        space: What is searched.
        rule: How it is derived.
        costs: What each choice costs.
    """

    def __init__(self, space: SearchSpace, rule: Deriver, costs: NetworkCosts) -> None:
        self.space, self.rule, self.costs = space, rule, costs
        self._kept: int | None = getattr(rule, "k", None)
        self._excluded: tuple[str, ...] = tuple(getattr(rule, "exclude", ()))
        self._masks = {name: mask_of(cell.allowed, len(cell.operations)) for name, cell in space.cells.items()}
        ends = [self._end(dearest) for dearest in (False, True)]
        self.least, self.most = (self._cost(choices) for choices in ends)
        self._ends = ends

    def samples(self, count: int, seed: int = 0) -> list[float]:
        """Costs of random networks: derived from parameters that are drawn from a normal distribution.

        Args:
            count: How many.
            seed: Of the draws; the same seed gives the same networks.
        """
        source, found = torch.Generator().manual_seed(seed), list[float]()
        while len(found) < count:
            drawn = {
                name: torch.randn(len(cell.edges), len(cell.operations), generator=source, dtype=torch.float64)
                for name, cell in self.space.cells.items()
            }
            if (cost := self._derived(drawn)) is not None:
                found.append(cost)
        return found

    def median(self, count: int, seed: int = 0) -> float:
        """The median cost of random networks, see `samples`."""
        return median(self.samples(count, seed))

    def nearest(self, target: float) -> Nearest:
        """The network next to a target that is found on the way from one end to the other, and about its best point.

        Args:
            target: In the unit of the costs.
        """
        random, way = Random(0), ((self._cost(each), each) for each in self._way())
        cost, best = min(way, key=lambda each: abs(each[0] - target))
        for _ in range(STEPS):
            if cost == target:
                break
            other = {name: dict(edges) for name, edges in best.items()}
            for _ in range(random.randint(1, 3)):  # of which one alone may lead away
                name = random.choice(list(other))
                edge = random.choice(list(other[name]))
                other[name][edge] = random.choice(self._columns(self.space.cells[name], edge))
            if abs((found := self._cost(other)) - target) < abs(cost - target):
                cost, best = found, other
        return Nearest(cost, cost / target - 1)

    def _way(self) -> Iterator[Choices]:
        """Networks from the least to the most, of which each has one more edge as the last one has it."""
        first, last = self._ends
        now = {name: dict(edges) for name, edges in first.items()}
        yield now
        for name, edges in last.items():
            ends = self.space.cells[name].edges
            for node in self.space.cells[name].targets:
                old, new = ([edge for edge in choices if ends[edge][1] == node] for choices in (first[name], edges))
                for count in range(1, len(new) + 1):
                    changed = new[:count] + [edge for edge in old if edge not in new[:count]][: len(new) - count]
                    others = {edge: column for edge, column in now[name].items() if ends[edge][1] != node}
                    choices = {edge: (edges if edge in new[:count] else first[name])[edge] for edge in changed}
                    now = {**now, name: {**others, **choices}}
                    yield now

    def _end(self, dearest: bool) -> Choices:
        """The cheapest or the dearest operation of each edge, of those edges of each node that cost least or most."""
        found: Choices = {}
        for name, cell in self.space.cells.items():
            table, sign = self.costs.by_type[name].tolist(), -1 if dearest else 1
            best = {}
            for edge in range(len(cell.edges)):
                if columns := self._columns(cell, edge):
                    row = table[edge]
                    best[edge] = min(columns, key=lambda column, row=row: sign * row[column])  # type: ignore[misc]
            found[name] = {}
            for node in cell.targets:
                inbound = [edge for edge in best if cell.edges[edge][1] == node]
                inbound.sort(key=lambda edge: sign * table[edge][best[edge]])
                found[name] |= {edge: best[edge] for edge in inbound[: self._kept]}
        return found

    def _columns(self, cell: CellSpace, edge: int) -> list[int]:
        """What the rule may choose on an edge; `none` where the genotype keeps it."""
        return [
            column
            for column in cell.allowed[edge]
            if cell.operations[column] not in self._excluded and (cell.operations[column] != "none" or cell.keeps_none)
        ]

    def _cost(self, choices: Mapping[str, Mapping[int, int]]) -> float:
        """What is derived from parameters that prefer choices."""
        wanted = {}
        for name, cell in self.space.cells.items():
            rows = torch.full((len(cell.edges), len(cell.operations)), -10.0, dtype=torch.float64)
            for edge, column in choices[name].items():
                rows[edge, column] = 10.0
            wanted[name] = rows
        cost = self._derived(wanted)
        assert cost is not None  # a choice of each node is there
        return cost

    def _derived(self, logits: Mapping[str, Tensor]) -> float | None:
        """The cost of what is derived from parameters; None where nothing is."""
        masks, compared = self._masks, logits
        if self.rule.compares == "importance":
            compared = {
                name: rows.masked_fill(~masks[name], float("-inf")).softmax(-1).nan_to_num(0.0)
                for name, rows in logits.items()
            }
        try:
            genotype: Genotype = self.rule(self.space, compared, masks)
        except EmptyCellError:
            return None
        return self.costs.of(genotype)


def format_range(rows: Sequence[Sequence[str]], targets: Sequence[str]) -> str:
    """The table that is printed.

    Args:
        rows: Measure, least, median and most, as text.
        targets: A line for each target.
    """
    table = [("", "least", "median", "most"), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
    return "\n".join([*lines, *targets]) + "\n"
