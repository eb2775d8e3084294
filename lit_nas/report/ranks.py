"""How well ranks predict accuracies: a page, and the two plots of the paper.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, figure 2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_nas.report.comparison import mean_and_deviation

__all__ = ("describe_spearman", "draw_rank_validation", "rank_validation_report")


def describe_spearman(found: Mapping[str, Any]) -> str:
    """`0.80 (95 % interval 0.41 to 0.95, p = 0.0004, 16 networks)`.

    Args:
        found: The fields of a `Spearman`.
    """
    pairs = f"{found['pairs']} networks"
    if found["coefficient"] is None:
        return f"undefined, for all accuracies or all ranks are equal ({pairs})"
    ends = "" if found["low"] is None else f"95 % interval {found['low']:.2f} to {found['high']:.2f}, "
    return f"{found['coefficient']:.2f} ({ends}p = {found['p_value']:.2g}, {pairs})"


def rank_validation_report(results: Mapping[str, Any]) -> str:
    """A page in Markdown: the coefficient, networks by rank, and the distribution of each row.

    Args:
        results: Those of the job `RankValidation`.
    """
    rows, networks = results["rows"], results["networks"]
    lines = [
        f"{len(results['repeats'])} searches of one hyper-architecture rank {results['size']} networks; "
        f"{len(networks)} of them are trained from scratch.",
        "",
        f"Spearman's coefficient of ranks and test accuracies: {describe_spearman(results['spearman'])}.",
        "",
        "| Network | " + " | ".join(rows) + " | product | place | test accuracy, per cent | place |",
        "|---" * (len(rows) + 5) + "|",
    ]
    for each in networks:
        accuracy = mean_and_deviation([100 * value for value in each["test_accuracy"]])
        cells = " | ".join(each["candidates"])
        lines.append(
            f"| {each['name']} | {cells} | {each['rank']:.4g} | {each['predicted_place']:g} | {accuracy} | "
            f"{each['found_place']:g} |"
        )
    for cell, row in rows.items():
        lines += ["", f"| {cell} | probability | of each search |", "|---|---|---|"]
        for number, (name, mean) in enumerate(zip(row["candidates"], row["probabilities"], strict=True)):
            single = ", ".join(f"{each[number]:.3f}" for each in row["by_repeat"])
            lines.append(f"| {name} | {mean:.3f} | {single} |")
    return "\n".join(lines) + "\n"


def draw_rank_validation(results: Mapping[str, Any], path: Path) -> None:
    """Draws the distribution of each row, and found over predicted places with their regression line.

    Args:
        results: Those of the job `RankValidation`.
        path: The file; its suffix says the format.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "lit-nas", "font.family": "DejaVu Sans", "font.size": 9.0}):
        figure = Figure(figsize=(9.0, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_rows(left, results["rows"])
        _draw_places(right, results)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _draw_rows(axes: Any, rows: Mapping[str, Any]) -> None:
    import matplotlib

    colours = matplotlib.colormaps["Blues"]
    for depth, (cell, row) in enumerate(rows.items(), 1):
        colour = colours(0.25 + 0.75 * depth / len(rows))  # light rows are near the images
        numbers = range(1, len(row["probabilities"]) + 1)
        axes.plot(numbers, row["probabilities"], "o-", color=colour, label=cell, linewidth=1.5)
        for single in row["by_repeat"]:
            axes.plot(numbers, single, ".", color=colour, markersize=3.0)
    axes.set_xticks(range(1, max(len(row["probabilities"]) for row in rows.values()) + 1))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("candidate of the row")
    axes.set_ylabel("probability, mean over searches")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _draw_places(axes: Any, results: Mapping[str, Any]) -> None:
    networks = results["networks"]
    predicted, found = ([each[key] for each in networks] for key in ("predicted_place", "found_place"))
    axes.plot(predicted, found, "o", color="#0072b2")
    if (slope := _slope(predicted, found)) is not None:
        ends = min(predicted), max(predicted)
        middle = fmean(predicted), fmean(found)
        axes.plot(ends, [middle[1] + slope * (end - middle[0]) for end in ends], color="#d55e00")
    axes.set_xlabel("predicted place (1 is the best)")
    axes.set_ylabel("place by test accuracy")
    axes.set_title(f"Spearman: {describe_spearman(results['spearman'])}", fontsize=8.0)
    axes.grid(alpha=0.3)


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """That of the least-squares line; None where all xs are equal."""
    middle = fmean(xs), fmean(ys)
    squares = sum((x - middle[0]) ** 2 for x in xs)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in zip(xs, ys, strict=True)) / squares if squares else None
