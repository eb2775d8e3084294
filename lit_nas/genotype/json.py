"""The files of genotypes: what they may hold, how they are read, and how they are laid out."""

import json
import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from lit_nas.genotype.cells import CellGenotype, Edge

__all__ = ("format_fields", "parse", "read_fields", "write_fields")

FORMAT = "lit-nas genotype"
VERSIONS = (1,)
_KEYS = ("format", "version", "name", "space", "cells", "meta")
_OPTIONAL = {"space": str, "name": str, "meta": dict}
_CELL_KEYS = ("inputs", "nodes", "concat")
_KINDS = {dict: "an object", list: "a list", str: "a string", int: "an integer"}


def write_fields(name: str, space: str, cells: Mapping[str, CellGenotype], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the file of a genotype as builtins.

    Args:
        name: Of a published genotype.
        space: Name of its search space.
        cells: By type.
        meta: Where it comes from.

    Raises:
        ValueError: if `meta` holds something that is not a finite plain value.
    """
    for key, value in meta.items():
        _check_plain(value, f"meta.{key}")
    written = {}
    for kind, cell in cells.items():
        nodes: list[list[list[Any]]] = [[] for _ in range(cell.num_nodes)]
        for target, edges in groupby(cell.edges, lambda edge: edge.target):
            nodes[target - cell.inputs] = [[edge.operation, edge.source] for edge in edges]
        written[kind] = {"inputs": cell.inputs, "nodes": nodes, "concat": list(cell.concat)}
    return {
        "format": FORMAT,
        "version": VERSIONS[-1],
        "name": name,
        "space": space,
        "cells": written,
        "meta": dict(meta),
    }


def read_fields(data: Any, where: str) -> dict[str, Any]:
    """The arguments of a genotype from what `write_fields` makes.

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
    return {**known, "cells": cells, "meta": dict(known.get("meta", {}))}


def parse(text: str, where: str) -> Any:
    """Plain data from the text of a file.

    Args:
        text: JSON.
        where: What holds it, for error messages.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:  # the latter if it is nested a thousand deep
        raise ValueError(f"{where} is not valid JSON, or it is truncated: {error}.") from error


def format_fields(data: Mapping[str, Any]) -> str:
    """The text of a file, one node per line.

    Args:
        data: What `write_fields` makes.
    """
    return _layout(data) + "\n"


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
