"""The command that writes one page of runs: plain argparse."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ("report",)


def report(args: Sequence[str]) -> None:
    """Writes one self-contained HTML page of runs, side by side: curves, mixing weights, cells, cost, configurations.

    Runs may still be going on. Runs whose configurations differ in their seeds alone are averaged.
    """
    parser = argparse.ArgumentParser("lit-nas report", description=report.__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a search, a retraining, a job or a sweep"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="page to write (report.html)")
    given = parser.parse_args(args)

    from lit_nas.report.page import write_report

    sys.stdout.write(f"{write_report(given.folders, given.output)}\n")
