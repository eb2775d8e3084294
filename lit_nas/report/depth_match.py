"""Search networks by how near their gradient confusion is to that of the network that is built in the end."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ("depth_match_csv", "depth_match_table", "nearest")

COLUMNS = ("name", "init_channels", "num_cells", "weights", "confusion", "difference", "skips")
"""Of the file: confusion is per 2^20 weights, the difference that to the target, skips those of the normal cell."""


def nearest(rows: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """Names of the candidates whose confusion is nearest to that of the target, the nearest one first.

    Args:
        rows: Of the candidates; with `name` and `difference`.
        count: How many at most. Of equally near ones the first come first.
    """
    return [row["name"] for row in sorted(rows, key=lambda row: abs(row["difference"]))[:count]]


def depth_match_table(results: Mapping[str, Any]) -> str:
    """A page in Markdown: the target, and the candidates from near to far.

    Args:
        results: Those of the job `DepthMatch`.
    """
    target, rows = results["target"], sorted(results["candidates"], key=lambda row: abs(row["difference"]))
    lines = [
        "| Network | C | cells | weights | confusion per 2^20 weights | minus target | skips in the normal cell |",
        "|---|---|---|---|---|---|---|",
        *(_line(row, row["name"] in results["proposed"]) for row in (target, *rows)),
    ]
    estimator = results["estimator"]
    return (
        f"Gradient confusion after training, mean of {estimator['draws']} draws of {estimator['batches']} mini-batches "
        "each. In bold: search networks that are about as hard to optimise as the target.\n\n" + "\n".join(lines) + "\n"
    )


def depth_match_csv(results: Mapping[str, Any]) -> str:
    """The same as a file of comma-separated values, candidates in the order of the configuration.

    Args:
        results: Those of the job `DepthMatch`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({name: row[name] for name in COLUMNS} for row in (results["target"], *results["candidates"]))
    return text.getvalue()


def _line(row: Mapping[str, Any], proposed: bool) -> str:
    name = f"**{row['name']}**" if proposed else row["name"]
    skips = "-" if row["skips"] is None else row["skips"]
    numbers = f"{row['weights']:,}", f"{row['confusion']:.4g}", f"{row['difference']:+.4g}", skips
    return "| " + " | ".join(map(str, (name, row["init_channels"], row["num_cells"], *numbers))) + " |"
