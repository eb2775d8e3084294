"""The search space of FaDE: a chain of cells, each of which is a DAG of convolutions.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.4 and 3; there is no official code. Not said there, and chosen
here: which five DAGs were picked by hand (only that their numbers of weights are equal, some 0.25 million), what lies
between the cells beside max pooling (`transition_kernel`), what follows the last one (global average pooling and a
linear classifier), and whether convolutions have a bias (`bias`). "Less than 6" and "up to 6" vertices are both there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lit_nas.dags import PREFIX, parse_dag
from lit_nas.dags.dag import MOST_NAMED_VERTICES
from lit_nas.operations import OperationStyle
from lit_nas.spaces.candidates import Rows, candidates_by_cell
from lit_nas.spaces.chains import check_chain
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("HAND_PICKED_DAGS", "DagSpace")

EDGES = ((0, 1),)
HAND_PICKED_DAGS = (
    "dag4_01_02_03_12_13_23",
    "dag5_01_02_03_14_24_34",
    "dag5_01_12_13_14",
    "dag6_01_02_13_24_35_45",
    "dag6_01_02_12_23_34_45",
)
"""All edges that there can be, three paths side by side, a fork, a ring, a chain with a shortcut: seven convolutions
each."""


@dataclass(frozen=True)
class DagSpace(SearchSpace):
    """A chain of rows; each chooses one cell out of candidates of its own, and a network has one cell of each row.

    Cells keep channels and size. Between rows there is a convolution that changes the channels, ReLU, and max pooling
    that halves height and width.

    Raises:
        ValueError: if a row has no DAG, one twice, one that is called otherwise or has too many vertices; if there are
            not as many rows as widths, or a number is out of range.
    """

    name = "dags"

    widths: tuple[int, ...] = (4, 8, 16, 32)
    """C of each row; the paper ends with 16 or 32."""
    dags: tuple[str, ...] = HAND_PICKED_DAGS
    """The candidates of each row, by their canonical names (`lit_nas.dags.canonical_name`)."""
    rows: tuple[tuple[str, ...], ...] = ()
    """For each row its own candidates in the place of `dags`; none given means that all rows have `dags`."""
    vertices: int = 6
    """The most vertices of a DAG."""
    transition_kernel: int = 5
    """Odd side of the kernels of the first convolution and of those between rows."""
    bias: bool = True
    """Whether convolutions have a bias."""
    candidates: Mapping[str, Sequence[Sequence[str]]] | str | Path | None = field(default=None, hash=False)
    """Row (`row_1` is the first one) -> one list of those of its DAGs that are built; None, or a row that is left out,
    means all. The path of a `candidates.json`, which a search leaves, stands for what the file holds."""

    def __post_init__(self) -> None:
        for name in ("widths", "dags"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists come from YAML
        object.__setattr__(self, "rows", tuple(map(tuple, self.rows)))
        self._check_numbers()
        rows = [(f"rows[{i}]", names) for i, names in enumerate(self.rows)]
        for where, names in rows or [("dags", self.dags)]:
            self._check_row(f"space.{where}", names)
        if self.candidates is not None:
            edges = {position.cell: EDGES for position in self.layout}
            known = tuple(dict.fromkeys(name for row in self.rows or (self.dags,) for name in row))
            object.__setattr__(self, "candidates", candidates_by_cell(self.candidates, self.name, edges, known))
        _ = self.cells  # validates the candidates

    def _check_numbers(self) -> None:
        if not 1 <= len(self.widths) <= MOST_CELLS or any(width < 1 for width in self.widths):
            raise ValueError(
                f"space.widths must be 1 to {MOST_CELLS} numbers of channels, each at least 1, not {self.widths}."
            )
        if self.rows and len(self.rows) != len(self.widths):
            raise ValueError(
                f"space.rows has {len(self.rows)} rows, but space.widths has {len(self.widths)} numbers: give one of "
                "both for each row."
            )
        if not 1 <= self.vertices <= MOST_NAMED_VERTICES:
            raise ValueError(f"space.vertices must be 1 to {MOST_NAMED_VERTICES}, not {self.vertices}.")
        if self.transition_kernel < 1 or not self.transition_kernel % 2:
            raise ValueError(f"space.transition_kernel must be odd and at least 1, not {self.transition_kernel}.")

    def _check_row(self, where: str, names: tuple[str, ...]) -> None:
        if not names:
            raise ValueError(f"{where} is empty, but a row needs at least one DAG.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"{where} has {', '.join(twice)} more than once: equal cells would share what the row chooses."
            )
        for name in names:
            try:
                count = parse_dag(name).vertices
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if count > self.vertices:
                raise ValueError(f"{where} has '{name}', but space.vertices allows {self.vertices} vertices at most.")

    @property
    def reductions(self) -> int:
        """How many times the network halves H and W."""
        return len(self.widths) - 1

    @property
    def style(self) -> OperationStyle:
        """There is no BatchNorm; what counts is the bias."""
        return OperationStyle(affine=True, pool_norm=False, conv_bias=self.bias)

    @property
    def layout(self) -> tuple[Position, ...]:
        """The rows."""
        return tuple(Position(f"row_{i + 1}", width) for i, width in enumerate(self.widths))

    @property
    def cells(self) -> dict[str, CellSpace]:
        """A type for each row."""
        own = cast(Rows, self.candidates or {})
        rows = self.rows or (self.dags,) * len(self.widths)
        return {
            position.cell: CellSpace(position.cell, names, EDGES, 1, candidates=own.get(position.cell, ()))
            for position, names in zip(self.layout, rows, strict=True)
        }

    @classmethod
    def check_genotype(cls, cells: Mapping[str, "CellGenotype"]) -> None:
        """Refuses cells that are not rows with one DAG each.

        Args:
            cells: By type.

        Raises:
            ValueError: if they are not `row_1` and so on, or one has other edges or operations.
        """
        super().check_genotype(cells)
        check_chain(cls.name, "row", cells, lambda name: name.startswith(PREFIX), "a DAG")
