"""Commands about tabular benchmarks: plain argparse, and no training."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_nas.cli.genotypes import SOURCE
from lit_nas.genotype import load_genotype
from lit_nas.tabular import BASELINES, DATASETS, read_table, run_baseline

__all__ = ("baseline", "query")

TABLE = "CSV file, or official file or folder of NATS-Bench"
MEASURES = ("test accuracy", "rank", "regret")


def query(args: Sequence[str]) -> None:
    """Prints test accuracy, rank and regret of cells of NAS-Bench-201."""
    parser = argparse.ArgumentParser("lit-nas query", description=query.__doc__)
    parser.add_argument("genotypes", nargs="+", metavar="GENOTYPE", help=SOURCE)
    parser.add_argument("--table", required=True, type=Path, help=TABLE)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="what is printed")
    given = parser.parse_args(args)

    genotypes, table, rows = [load_genotype(source) for source in given.genotypes], read_table(given.table), []
    for source, genotype in zip(given.genotypes, genotypes, strict=True):
        if genotype.architecture is None:
            raise ValueError(
                f"'{source}' is of the space '{genotype.space}', but the table holds cells of NAS-Bench-201."
            )
        standings = table.look_up(genotype.architecture)
        rows.append(
            {"architecture": genotype.architecture, **{name: each._asdict() for name, each in standings.items()}}
        )
    if given.format == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        for row in rows:
            sys.stdout.write(f"{row['architecture']}\n")
            lines = [(name, *_numbers(row[name]), f"{table.best(name):.2f}") for name in DATASETS]
            _print("", ("data set", *MEASURES, "best"), lines)


def baseline(args: Sequence[str]) -> None:
    """Prints what searches without training find in a table: mean and deviation over seeds."""
    parser = argparse.ArgumentParser("lit-nas baseline", description=baseline.__doc__)
    parser.add_argument("--table", required=True, type=Path, help=TABLE)
    parser.add_argument("--method", nargs="+", choices=tuple(BASELINES), default=list(BASELINES), help="all by default")
    parser.add_argument("--dataset", choices=DATASETS, default="cifar10", help="whose validation accuracy is looked at")
    parser.add_argument("--budget", type=int, default=100, help="cells that a run may look at")
    parser.add_argument("--seeds", type=int, default=10, help="number of runs, with the seeds 0, 1, ...")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="what is printed")
    given = parser.parse_args(args)

    table = read_table(given.table)
    runs = [run_baseline(table, method, given.dataset, given.budget, given.seeds) for method in given.method]
    if given.format == "json":
        sys.stdout.write(json.dumps(runs, indent=2) + "\n")
    else:
        sys.stdout.write(f"{given.budget:,} cells looked at on {given.dataset}, mean and deviation of {given.seeds}:\n")
        for name in DATASETS:
            lines = [(run["method"], *_spreads(run[name])) for run in runs]
            _print(f"{name}, where the best cell has {table.best(name):.2f}", ("method", *MEASURES), lines)


def _numbers(standing: Any) -> tuple[str, str, str]:
    return f"{standing['test_accuracy']:.2f}", f"{standing['rank']:,}", f"{standing['regret']:.2f}"


def _spreads(measures: dict[str, dict[str, float | None]]) -> list[str]:
    texts = []
    for name, digits in (("test_accuracy", 2), ("rank", 0), ("regret", 2)):
        mean, deviation = measures[name]["mean"], measures[name]["deviation"]
        texts.append(f"{mean:,.{digits}f}" + ("" if deviation is None else f" +- {deviation:,.{digits}f}"))
    return texts


def _print(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        grid.add_column(column, justify="left" if column == columns[0] else "right", no_wrap=True)
    for line in lines:
        grid.add_row(*line)
    Console().print(grid)
