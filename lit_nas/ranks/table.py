"""Ranked networks as a table: CSV or JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.ranks.choices import Choices
from lit_nas.ranks.ranking import Ranked

__all__ = ("rank_table", "write_ranks")


def rank_table(choices: Choices, ranked: Sequence[Ranked]) -> list[dict[str, Any]]:
    """A row for each network: its place, the product of its probabilities, and the candidate of each row.

    Args:
        choices: The rows.
        ranked: The networks, the best one first.
    """
    return [
        {
            "place": place,
            "rank": each.rank,
            "log_rank": each.log_rank,
            **dict(zip(choices.cells, choices.candidates_of(each.choice), strict=True)),
        }
        for place, each in enumerate(ranked, 1)
    ]


def write_ranks(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes a table.

    Args:
        rows: Its rows, at least one; all have the same columns.
        path: The file; its suffix says the format.

    Raises:
        ValueError: if that is neither `.csv` nor `.json`.
    """
    if path.suffix == ".json":
        write_text(path, json.dumps(list(rows), indent=2) + "\n")
    elif path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
    else:
        raise ValueError(f"Ranks are written to a .csv or .json file, not to '{path}'.")
