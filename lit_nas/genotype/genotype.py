"""Genotypes: discrete cells as plain data, their JSON files, and the published ones by name."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from lit_nas.atomic_write import write_text
from lit_nas.nas_bench_201_strings import CELL_EDGES, CELL_OPERATIONS, format_architecture, parse_architecture
from lit_nas.record.archive import read_archive

__all__ = ("CellGenotype", "Edge", "Genotype", "load_genotype", "published_genotypes", "read_genotype")

FORMAT = "lit-nas genotype"
VERSIONS = (1,)
_FOLDER = Path(__file__).parent / "published"
NAS_BENCH_201 = "nas_bench_201"
_REQUIRED_CELLS = {"darts": ("normal", "reduce"), NAS_BENCH_201: ("normal",)}  # by space; others need one at least
_KEYS = ("format", "version", "name", "space", "cells", "meta")
_CELL_KEYS = ("inputs", "nodes", "concat")
_OPTIONAL = {"space": str, "name": str, "meta": dict}
_KINDS = {dict: "an object", list: "a list", str: "a string", int: "an integer"}


class Edge(NamedTuple):
    """One chosen operation of a cell."""

    operation: str
    source: int
    """State that it reads."""
    target: int
    """Node that it is added to."""


@dataclass(frozen=True)
class CellGenotype:
    """The discrete DAG of one cell type.

    States 0 .. inputs - 1 are the inputs of a cell, the following ones its nodes; a node is the sum of its inbound
    edges. A node may have any number of them, also several from one source. A node without any may exist, but
    nothing may read it.

    Raises:
        ValueError: if an edge does not point forward, or something reads a node that has no inbound edge.
    """

    edges: tuple[Edge, ...]
    """Grouped by target; within a node the order is kept, by convention the strongest edge first."""
    concat: tuple[int, ...]
    """States whose channels are concatenated to the output."""
    inputs: int = 2
    """Number of input states."""

    def __post_init__(self) -> None:
        edges = sorted((Edge(*edge) for edge in self.edges), key=lambda edge: edge.target)  # stable
        object.__setattr__(self, "edges", tuple(edges))
        object.__setattr__(self, "concat", tuple(self.concat))
        if self.inputs < 1:
            raise ValueError(f"inputs must be at least 1, not {self.inputs}.")
        if not edges:
            raise ValueError("nodes must hold at least one edge.")
        for edge in edges:
            if not 0 <= edge.source < edge.target:
                raise ValueError(
                    f"The edge '{edge.operation}' of state {edge.target} reads state {edge.source}. An edge points "
                    f"forward: allowed are the states 0 to {edge.target - 1}."
                )
            if edge.target < self.inputs:
                raise ValueError(f"The edge '{edge.operation}' leads to state {edge.target}, which is an input.")
        fed = {edge.target for edge in edges}
        for edge in edges:
            if edge.source >= self.inputs and edge.source not in fed:
                raise ValueError(
                    f"The edge '{edge.operation}' of state {edge.target} reads node state {edge.source}, which has "
                    f"no inbound edge. Allowed are the inputs 0 to {self.inputs - 1} and the states {sorted(fed)}."
                )
        if not self.concat or len(set(self.concat)) < len(self.concat) or not fed.issuperset(self.concat):
            raise ValueError(
                f"concat is {list(self.concat)}, but it must name nodes with inbound edges, each once, and at least "
                f"one. Allowed are {sorted(fed)}."
            )

    @property
    def num_nodes(self) -> int:
        """Number of nodes up to the last one that has an inbound edge."""
        return self.edges[-1].target + 1 - self.inputs

    def inbound(self, state: int) -> tuple[Edge, ...]:
        """Edges of one node, strongest first."""
        return tuple(edge for edge in self.edges if edge.target == state)


@dataclass(frozen=True)
class Genotype:
    """Cells by type: what a search finds and what an evaluation network is built from.

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
    """Where it comes from, in plain values: method, rule, seed, epoch, validation_accuracy."""

    def __post_init__(self) -> None:
        from lit_nas.operations import check_operations  # brings in torch, which reading a name does not need

        required = _REQUIRED_CELLS.get(self.space, ())
        if not self.cells or not set(required) <= set(self.cells):
            raise ValueError(
                f"cells has {list(self.cells)}, but a genotype of the space '{self.space}' needs "
                f"{list(required) or 'at least one cell'}."
            )
        for name, cell in self.cells.items():
            check_operations(tuple(edge.operation for edge in cell.edges), f"cells.{name}.nodes")
        if self.space == NAS_BENCH_201:
            _check_nas_bench_201(self.cells)

    @property
    def architecture(self) -> str | None:
        """The string of a cell of NAS-Bench-201; None in other spaces."""
        if self.space != NAS_BENCH_201:
            return None
        operations = {(edge.source, edge.target): edge.operation for edge in self.cells["normal"].edges}
        return format_architecture([operations[edge] for edge in CELL_EDGES])

    @property
    def label(self) -> str:
        """What to call it: its name, else its architecture string, else nothing."""
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
        for key, value in self.meta.items():
            _check_plain(value, f"meta.{key}")
        cells = {}
        for name, cell in self.cells.items():
            nodes: list[list[list[Any]]] = [[] for _ in range(cell.num_nodes)]
            for target, edges in groupby(cell.edges, lambda edge: edge.target):
                nodes[target - cell.inputs] = [[edge.operation, edge.source] for edge in edges]
            cells[name] = {"inputs": cell.inputs, "nodes": nodes, "concat": list(cell.concat)}
        return {
            "format": FORMAT,
            "version": VERSIONS[-1],
            "name": self.name,
            "space": self.space,
            "cells": cells,
            "meta": dict(self.meta),
        }

    def to_json(self) -> str:
        """Its JSON file, one node a line."""
        return _layout(self.to_dict()) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "The genotype") -> "Genotype":
        """Reads the form that `to_dict` makes.

        Args:
            data: Plain data.
            where: What holds it, for error messages: a file, a configuration key.

        Raises:
            ValueError: naming the key that is wrong and what is allowed.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else data
            raise ValueError(f"{where} is not a genotype: the key 'format' must be '{FORMAT}', not {found!r}.")
        version = data.get("version")
        if type(version) is not int or version not in VERSIONS:  # true is an int, too
            newer = type(version) is int and version > max(VERSIONS)
            raise ValueError(
                f"{where} has version {version!r}, but this release of lit-nas knows the versions {list(VERSIONS)}. "
                + ("Read it with a newer release." if newer else "The key 'version' must be one of these numbers.")
            )
        _check_keys(data, _KEYS, "", where)
        found = _get(data, "cells", dict, where)
        cells = {str(name): _read_cell(cell, f"cells.{name}", where) for name, cell in found.items()}
        known = {key: _value(data[key], kind, key, where) for key, kind in _OPTIONAL.items() if key in data}
        try:
            return cls(cells, **{**known, "meta": dict(known.get("meta", {}))})
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
        try:
            return cls.from_dict(json.loads(text), where)
        except (json.JSONDecodeError, RecursionError) as error:  # the latter if it is nested a thousand deep
            raise ValueError(f"{where} is not valid JSON, or it is truncated: {error}.") from error

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


def published_genotypes() -> tuple[str, ...]:
    """Names of the genotypes that come with lit-nas."""
    return tuple(sorted((path.stem for path in _FOLDER.glob("*.json")), key=str.lower))


def load_genotype(source: str | Path) -> Genotype:
    """Finds a genotype by name or by file.

    Args:
        source: A published name (upper and lower case are the same), a JSON file, a checkpoint of a search
            (`.ckpt`), which holds the genotype of its epoch, or an architecture string of NAS-Bench-201, which
            starts with `|`.

    Raises:
        FileNotFoundError: if there is neither such a name nor such a file.
        ValueError: if the file or the string holds no valid genotype.
    """
    if str(source).lstrip().startswith("|"):
        return Genotype.from_architecture(str(source))
    path = Path(source)
    for name in published_genotypes():
        if name.lower() == str(source).lower():
            return Genotype.load(_FOLDER / f"{name}.json")
    if not path.is_file():
        raise FileNotFoundError(
            f"'{source}' is neither a published genotype nor a file ('{path.absolute()}' was looked for). Published "
            f"are: {', '.join(published_genotypes())}."
        )
    return read_genotype(path) if path.suffix == ".ckpt" else Genotype.load(path)


def read_genotype(path: Path) -> Genotype:
    """Reads the genotype of the epoch at which a checkpoint of a search was written; imports none of its classes.

    Args:
        path: The checkpoint.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or holds no genotype.
    """
    checkpoint = read_archive(path)
    record = checkpoint.get("lit_nas") if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict) or "genotype" not in record:
        raise ValueError(
            f"'{path}' holds no genotype: the key lit_nas.genotype is missing. Give the checkpoint of a search of "
            "lit-nas, a genotype file (.json) or a published name."
        )
    if record["genotype"] is None:
        raise ValueError(
            f"'{path}' holds no genotype: when it was written, a cell of its search had lost every operation. Give an "
            "earlier genotype of that run (genotypes/epoch-*.json)."
        )
    return Genotype.from_dict(record["genotype"], f"'{path}' (lit_nas.genotype)")


def _check_nas_bench_201(cells: Mapping[str, CellGenotype]) -> None:
    cell = cells["normal"]
    edges = sorted((edge.source, edge.target) for edge in cell.edges)
    if list(cells) != ["normal"] or cell.inputs != 1 or edges != sorted(CELL_EDGES) or cell.concat != (3,):
        raise ValueError(
            f"A genotype of the space '{NAS_BENCH_201}' has one cell 'normal' with 1 input, the edges "
            f"{sorted(CELL_EDGES)} (`none` where nothing is connected) and concat [3], but this one has "
            f"{list(cells)}, {cell.inputs} input(s), {edges} and {list(cell.concat)}."
        )
    if foreign := sorted({edge.operation for edge in cell.edges} - set(CELL_OPERATIONS)):
        raise ValueError(
            f"cells.normal.nodes names {foreign}, which NAS-Bench-201 does not have. Known are: "
            f"{', '.join(CELL_OPERATIONS)}."
        )


def _value(value: Any, kind: type, key: str, where: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where}: {key} must be {_KINDS[kind]}, not {value!r}.")
    return value


def _get(data: Mapping[str, Any], key: str, kind: type, where: str, prefix: str = "") -> Any:
    if key not in data:
        raise ValueError(f"{where}: the key {prefix}{key} is missing.")
    return _value(data[key], kind, prefix + key, where)


def _check_keys(data: Mapping[str, Any], known: tuple[str, ...], prefix: str, where: str) -> None:
    if unknown := sorted(str(key) for key in data if key not in known):
        keys = ", ".join(prefix + key for key in unknown)
        raise ValueError(f"{where}: unknown key {keys}. Allowed are: {', '.join(known)}.")


def _read_cell(data: Any, key: str, where: str) -> CellGenotype:
    _check_keys(_value(data, dict, key, where), _CELL_KEYS, f"{key}.", where)
    inputs = _value(data.get("inputs", 2), int, f"{key}.inputs", where)
    edges = []
    for node, pairs in enumerate(_get(data, "nodes", list, where, f"{key}.")):
        for pair in _value(pairs, list, f"{key}.nodes[{node}]", where):
            if not isinstance(pair, list) or [type(item) for item in pair] != [str, int]:
                raise ValueError(
                    f'{where}: {key}.nodes[{node}] must hold pairs like ["skip_connect", 0] (operation, source '
                    f"state), not {pair!r}."
                )
            edges.append(Edge(pair[0], pair[1], node + inputs))
    concat = _get(data, "concat", list, where, f"{key}.")
    for state in concat:
        _value(state, int, f"each item of {key}.concat", where)
    try:
        return CellGenotype(tuple(edges), tuple(concat), inputs)
    except ValueError as error:
        raise ValueError(f"{where}: {key}: {error}") from error


def _check_plain(value: Any, key: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_plain(item, key)
    elif isinstance(value, dict) and all(isinstance(name, str) for name in value):
        for name, item in value.items():
            _check_plain(item, f"{key}.{name}")
    elif not (value is None or isinstance(value, (bool, int, str)) or (type(value) is float and math.isfinite(value))):
        raise ValueError(
            f"{key} is {value!r}, which a genotype file cannot hold. Allowed are strings, finite numbers, booleans, "
            "None, and lists and dicts of them."
        )


def _layout(value: Any, indent: str = "") -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{json.dumps(key)}: {_layout(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + line for line in lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        return "[\n" + ",\n".join(inner + json.dumps(item) for item in value) + f"\n{indent}]"
    return json.dumps(value)
