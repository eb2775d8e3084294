"""The command that lays out the workspace of a project at Weights & Biases: plain argparse, and no training."""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from lit_nas.trackers.workspace import save_workspace

__all__ = ("workspace",)


def workspace(args: Sequence[str]) -> None:
    """Saves a layout for all runs of a project, with a chart for each edge. Needs an account (`wandb login`)."""
    parser = argparse.ArgumentParser("lit-nas workspace", description=workspace.__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a search whose cells have charts")
    parser.add_argument("--entity", required=True, help="user or team")
    parser.add_argument("--project", default="lit-nas", help="project of the runs")
    parser.add_argument("--name", default="lit-nas", help="what the view is called")
    given = parser.parse_args(args)

    path = given.folder / "alphas.csv"
    if not path.is_file():
        raise FileNotFoundError(f"'{path}' is not there: name the folder of a search that has finished an epoch.")
    cells: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            edges, edge = cells.setdefault(row["cell"], []), f"{row['source']}-{row['target']}"
            if edge not in edges:
                edges.append(edge)
    sys.stdout.write(f"{save_workspace(given.entity, given.project, cells, given.name)}\n")
