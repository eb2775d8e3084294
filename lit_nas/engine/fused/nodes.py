"""The nodes of a cell: sums of what is computed together, and of what runs as its own code says."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lit_nas.engine.fused.plan import Join, Own, Path, Wave
from lit_nas.engine.fused.run import add, unchanged_buffers

__all__ = ("Asides", "Nodes")


class Nodes:
    """Terms of nodes, summed as they come.

    Edges with an equal `join` are joined once per node instead of once per edge: a join is linear in both arguments, so
    it may trade places with the sum over edges.

    Args:
        finish: (number of a node, sum of its terms) -> what the node is.
    """

    def __init__(self, finish: Callable[[int, Tensor], Tensor]) -> None:
        self._finish = finish
        self._mixed: dict[tuple[int, Join | None], Tensor] = {}
        self._beside: dict[tuple[int, Join], Tensor] = {}
        self._own: dict[int, Tensor] = {}
        self._known: dict[int, Tensor | None] = {}

    def add_mixed(self, target: int, term: Tensor, join: Join | None) -> None:
        """Adds a sum of candidates, which nothing else must read."""
        self._mixed[target, join] = add(self._mixed.get((target, join)), term)

    def add_aside(self, aside: Own | Path, value: Tensor) -> None:
        """Adds what ran as its own code says; autograd may have saved it, so it is not changed in place."""
        if isinstance(aside, Own) or aside.join is None:
            before = self._own.get(aside.target)
            self._own[aside.target] = value if before is None else before + value
        else:
            key = aside.target, aside.join
            self._beside[key] = value if key not in self._beside else self._beside[key] + value

    def value(self, target: int) -> Tensor | None:
        """The sum of all terms of a node, which is complete, or None if there is none."""
        if target not in self._known:
            total = self._sum(target)
            self._known[target] = None if total is None else self._finish(target, total)
        return self._known[target]

    def _sum(self, target: int) -> Tensor | None:
        total = self._mixed.get((target, None))
        for (end, join), beside in self._beside.items():
            if end == target:
                total = add(total, join(self._mixed[target, join], beside))
        own = self._own.get(target)
        return total if own is None else own if total is None else total + own


class Asides:
    """Runs what leaves a wave as its own code says; `checkpoint` calls it a second time.

    Args:
        wave: The edges and paths.
    """

    def __init__(self, wave: Wave) -> None:
        self.wave, self.again = wave, False

    def __call__(self, weights: Tensor, beside: Tensor | None, *states: Tensor) -> list[Tensor]:
        """The values of all edges that are not fused, and then of all paths, times their factors.

        Args:
            weights: Mixing weights of the cell, [E, O].
            beside: Factors of paths and the like, [E]; None is 1.
            states: Those of the wave.
        """
        found, again, self.again = [], self.again, True
        for own in self.wave.own:
            active = {name: weights[own.index, column] for column, name in own.columns}
            factor = None if beside is None else beside[own.index]
            with unchanged_buffers(own.edge, again):
                found.append(own.edge(states[own.source], active, factor))
        values: dict[object, Tensor] = {}
        for path in self.wave.paths:
            key = path.source, path.run
            if key not in values:
                module = path.run if isinstance(path.run, nn.Module) else nn.Identity()
                with unchanged_buffers(module, again):
                    values[key] = path.run(states[path.source])
            found.append(values[key] if beside is None else beside[path.index] * values[key])
        return found
