"""Genotypes: discrete cells as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.genotype.cells import CellGenotype, Edge
from lit_nas.genotype.json import format_fields, parse, read_fields, write_fields
from lit_nas.record.own_modules import say_missing
from lit_nas.spaces import NasBench201Space, known_spaces
from lit_nas.spaces.nas_bench_201_strings import CELL_EDGES, format_architecture, parse_architecture

__all__ = ("NAS_BENCH_201", "Genotype")

NAS_BENCH_201 = NasBench201Space.name


@dataclass(frozen=True)
class Genotype:
    """Cells by type: what a search finds and what a retraining trains.

    Its space checks it. Where the space is one of your own whose package has not been imported, the cells can be kept,
    written and drawn, but no network can be built of them.

    Raises:
        ValueError: if a cell is missing or does not belong to the space, or an operation is unknown.
    """

    cells: dict[str, CellGenotype]
    """Cell type -> cell, in a fixed order."""
    space: str = "darts"
    """Name of the search space that it is an element of."""
    name: str = ""
    """Name of a published genotype."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Where it comes from, in plain values: method, rule, seed, epoch, validation_accuracy, and `modules` of your own
    that define its space and its operations."""

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError(f"cells is empty, but a genotype of the space '{self.space}' needs at least one cell.")
        if (space := known_spaces().get(self.space)) is not None:
            try:
                space.check_genotype(self.cells)
            except ValueError as error:
                if not (hint := say_missing(self.meta)):
                    raise
                raise ValueError(f"{error}{hint}") from error

    @property
    def architecture(self) -> str | None:
        """The string of a cell of NAS-Bench-201; None in other spaces."""
        if self.space != NAS_BENCH_201:
            return None
        operations = {(edge.source, edge.target): edge.operation for edge in self.cells["normal"].edges}
        return format_architecture([operations[edge] for edge in CELL_EDGES])

    def with_meta(self, **facts: Any) -> "Genotype":
        """A copy that says more about where it comes from.

        Args:
            facts: Plain values, which replace those of the same names.
        """
        return replace(self, meta={**self.meta, **facts})

    @property
    def label(self) -> str:
        """What to call it: its name, otherwise its architecture string, otherwise nothing."""
        return self.name or self.architecture or ""

    @classmethod
    def from_architecture(cls, text: str) -> "Genotype":
        """Reads the string of a cell of NAS-Bench-201.

        Args:
            text: As in `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

        Raises:
            ValueError: if it is not the string of a cell.
        """
        pairs = zip(parse_architecture(text), CELL_EDGES, strict=True)
        edges = tuple(Edge(operation, source, target) for operation, (source, target) in pairs)
        return cls({"normal": CellGenotype(edges, (3,), inputs=1)}, NAS_BENCH_201)

    def to_dict(self) -> dict[str, Any]:
        """The content of its JSON file as builtins; checkpoints hold it.

        Raises:
            ValueError: if `meta` holds something that is not a finite plain value.
        """
        return write_fields(self.name, self.space, self.cells, self.meta)

    def to_json(self) -> str:
        """Its JSON file, one node per line."""
        return format_fields(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "The genotype") -> "Genotype":
        """Reads the form that `to_dict` makes.

        Args:
            data: Plain data.
            where: What holds it, for error messages: a file, a configuration key.

        Raises:
            ValueError: naming the key that is wrong and what is allowed.
        """
        fields = read_fields(data, where)
        try:
            return cls(**fields)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    @classmethod
    def from_json(cls, text: str, where: str = "The genotype") -> "Genotype":
        """Reads the text of a JSON file.

        Args:
            text: JSON.
            where: What holds it, for error messages.

        Raises:
            ValueError: if it is not JSON, or as in `from_dict`.
        """
        return cls.from_dict(parse(text, where), where)

    def save(self, path: str | Path) -> None:
        """Writes its JSON file in one piece: readers see the old file or the new one, never a part.

        Args:
            path: The file; its folder is made if needed.
        """
        write_text(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Genotype":
        """Reads a JSON file.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: as in `from_json`, naming the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no genotype file '{path}'.")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"'{path}' is not a genotype file: it is not text ({error}).") from error
        return cls.from_json(text, f"'{path}'")
