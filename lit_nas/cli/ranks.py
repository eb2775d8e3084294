"""The command that ranks the networks of a search: plain argparse, and no training."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lit_nas.ranks import best_networks, load_choices, rank_table, write_ranks

__all__ = ("ranks",)


def ranks(args: Sequence[str]) -> None:
    """Ranks the networks of a search by the product of the probabilities of their cells (FaDE-ranks).

    Several searches are averaged first: repetitions of one search with the same candidates.
    """
    parser = argparse.ArgumentParser("lit-nas ranks", description=ranks.__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN", help="folder of a search, or its candidates.json"
    )
    parser.add_argument("-k", "--count", type=int, default=10, help="how many of the best networks")
    parser.add_argument("-o", "--output", type=Path, help="write them to this .csv or .json file, too")
    given = parser.parse_args(args)

    choices = load_choices(given.folders)
    ranked = best_networks(choices, given.count)
    rows = rank_table(choices, ranked)
    if given.output is not None:
        write_ranks(rows, given.output)
    for cell, names, values in zip(choices.cells, choices.names, choices.probabilities, strict=True):
        pairs = sorted(zip(values, names, strict=True), key=lambda pair: (-pair[0], pair[1]))
        sys.stdout.write(f"{cell}: " + ", ".join(f"{name} {value:.4f}" for value, name in pairs) + "\n")
    sys.stdout.write(f"\nThe best {len(rows)} of {choices.networks} networks:\n")
    for row in rows:
        cells = "  ".join(str(row[cell]) for cell in choices.cells)
        sys.stdout.write(f"{row['place']:>5}  {row['rank']:.4e}  {cells}\n")
