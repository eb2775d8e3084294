"""A derivation for architectures that choose inputs themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lit_nas.derivation.deriver import Deriver, Masks, check_excluded, choices, probability_rows
from lit_nas.derivation.reachable import reachable_cell
from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.spaces import CellSpace, SearchSpace

__all__ = ("EveryChoice",)


@dataclass(frozen=True)
class EveryChoice(Deriver):
    """Keeps every candidate that the best network has: the mode of a prior over inputs and operations (PARSEC).

    It is for relaxations whose importance is 0 for all others, such as `CategoricalPairs`; an edge may keep several
    operations. A node that loses all its edges leaves the output.

    Raises:
        ValueError: if an excluded operation is unknown.
    """

    exclude: tuple[str, ...] = ("none",)
    """Operations that are left out, even where they were chosen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        check_excluded(self.exclude, "EveryChoice")

    def __call__(self, space: SearchSpace, probabilities: Mapping[str, Tensor], masks: Masks | None = None) -> Genotype:
        """See `Deriver`.

        Raises:
            ValueError: if the genotypes of the space hold one operation for each edge.
        """
        cells = {}
        for name, cell in space.cells.items():
            if cell.keeps_none:
                raise ValueError(
                    f"EveryChoice may keep several operations of an edge or none, but the genotypes of the space "
                    f"'{space.name}' hold one for each edge: leave model.deriver out, or set it to ArgmaxPerEdge."
                )
            cells[name] = self._cell(cell, probability_rows(cell, probabilities), choices(cell, self.exclude, masks))
        return Genotype(cells, space.name)

    def _cell(self, cell: CellSpace, rows: list[list[float]], allowed: list[list[int]]) -> CellGenotype:
        chosen = [
            (edge, column) for edge, columns in enumerate(allowed) for column in columns if rows[edge][column] > 0
        ]
        return reachable_cell(cell, rows, chosen)
