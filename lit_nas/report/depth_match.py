"""Search networks by how near their gradient confusion is to that of the network that is built in the end."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ("depth_match_csv", "depth_match_table", "nearest")

COLUMNS = ("name", "init_channels", "num_cells", "weights", "confusion", "difference", "skips")
"""Of the file: confusion is per 2^20 weights, the difference that to the target, skips those of the normal cell."""


def nearest(rows: Sequence[Mapping[str, Any]], count: int, farthest: float | None = None) -> list[str]:
    """Names of the candidates whose confusion is nearest to that of the target, the nearest one first.

    Args:
        rows: Of the candidates; with `name` and `difference`.
        count: How many at most. Of equally near ones the first come first.
        farthest: Largest difference; None takes any.
    """
    near = [row for row in rows if farthest is None or abs(row["difference"]) <= farthest]
    return [row["name"] for row in sorted(near, key=lambda row: abs(row["difference"]))[:count]]


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
    estimator, tolerance, count = results["estimator"], results["tolerance"], len(results["proposed"])
    limit = f"the {count} nearest to it" if tolerance is None else f"within {100 * tolerance:.3g} per cent of it"
    bold = limit if count else f"{limit}, of which there are none"
    return (
        f"Gradient confusion after training, mean of {estimator['draws']} draws of {estimator['batches']} mini-batches "
        f"each. In bold, as proposals for the target: search networks {bold}.\n\n" + "\n".join(lines) + "\n"
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
