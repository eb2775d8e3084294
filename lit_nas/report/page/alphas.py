"""Mixing weights of a search over epochs, as data for heat maps and trajectories."""

from typing import Any

from lit_nas.report.page.run_files import RunFiles, number, read_csv

__all__ = ("alpha_data",)

TOGETHER, EDGES = "all cells", "edge weights"
COLUMNS = {"cell", "source", "target", "operation"}
Values = dict[tuple[str, str], dict[tuple[int, str], float]]
"""(cell, edge) -> (epoch, operation) -> mixing weight."""


def alpha_data(run: RunFiles) -> dict[str, Any] | None:
    """What `alphas.csv` holds, ordered for plots; None while it holds nothing.

    Args:
        run: A search.

    Returns:
        `epochs`, a list, and `cells`, a list with `name`, `edges` (labels), `operations` and `values`, which is a list
        [epoch][edge][operation] with None for candidates that an edge does not have. Cells that have one edge each
        stand in one table. Where edges have weights of their own, a last table `edge weights` has nodes in the place
        of edges, and their inbound edges in that of operations.
    """
    values, epochs = _values(run.alphas)
    if not values:
        return None
    order = sorted(epochs)
    names = list(dict.fromkeys(cell for cell, _ in values))
    if len(values) == len(names) > 1:
        cells = [_cell(TOGETHER, [(key[0], key) for key in values], values, order)]
    else:
        cells = [_cell(name, [(key[1], key) for key in values if key[0] == name], values, order) for name in names]
    weights, _ = _values([_inbound(row) for row in read_csv(run.folder / "edge_weights.csv")])
    if weights:
        cells.append(_cell(EDGES, [(key[1], key) for key in weights], weights, order))
    return {"epochs": order, "cells": cells}


def _values(rows: list[dict[str, str]]) -> tuple[Values, set[int]]:
    """The numbers of `alphas.csv`, and the epochs that there are."""
    values: Values = {}
    epochs: set[int] = set()
    for row in rows:
        value = number(row.get("probability"))
        if value is None or not row.get("epoch", "").isdigit() or not row.keys() >= COLUMNS:
            continue
        edge = row["cell"], row.get("label") or f"{row['source']} → {row['target']}"
        values.setdefault(edge, {})[int(row["epoch"]), row["operation"]] = value
        epochs.add(int(row["epoch"]))
    return values, epochs


def _inbound(row: dict[str, str]) -> dict[str, str]:
    """A row of `edge_weights.csv` as one of `alphas.csv`: a node chooses among its edges."""
    label, operation = f"{row.get('cell')}, node {row.get('target')}", f"from {row.get('source')}"
    return {**row, "cell": EDGES, "label": label, "operation": operation, "probability": row.get("weight", "")}


def _cell(
    name: str,
    edges: list[tuple[str, tuple[str, str]]],
    values: Values,
    epochs: list[int],
) -> dict[str, Any]:
    operations = list(dict.fromkeys(operation for _, key in edges for _, operation in values[key]))
    table = [[[values[key].get((epoch, o)) for o in operations] for _, key in edges] for epoch in epochs]
    rounded = [[[None if v is None else round(v, 6) for v in row] for row in rows] for rows in table]
    return {"name": name, "edges": [label for label, _ in edges], "operations": operations, "values": rounded}
