"""What mixing weights of an edge say of the networks that have its candidates: a table, a plot, a coefficient."""

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_nas.report.comparison import mean_and_deviation

__all__ = ("alpha_correlation_table", "draw_alpha_correlation", "pearson")


def pearson(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's coefficient of two lists of numbers of the same length; None where one of them does not vary.

    Args:
        xs: One of them.
        ys: The other one.
    """
    if len(xs) < 2:
        return None
    dx, dy = ([value - fmean(values) for value in values] for values in (xs, ys))
    scale = sqrt(sum(d * d for d in dx) * sum(d * d for d in dy))
    return sum(a * b for a, b in zip(dx, dy, strict=True)) / scale if scale else None


def alpha_correlation_table(results: Mapping[str, Any]) -> str:
    """A page in Markdown, a row per candidate, the strongest one first.

    Args:
        results: Those of the job `AlphaCorrelation`.
    """
    rows = sorted(results["candidates"], key=lambda row: -row["alpha"])
    lines = ["| Operation | alpha | test accuracy, per cent | in the genotype |", "|---|---|---|---|"]
    for row in rows:
        accuracy = mean_and_deviation([100 * value for value in row["test_accuracy"]])
        lines.append(f"| {row['operation']} | {row['alpha']:.4f} | {accuracy} | {'yes' if row['chosen'] else ''} |")
    source, target = results["edge"]
    return (
        f"Candidates of the edge {source} -> {target} of the cell '{results['cell']}': mixing weight after the search, "
        f"and test accuracy of the network that has each of them there. {_coefficient(results)}.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def draw_alpha_correlation(results: Mapping[str, Any], path: Path) -> None:
    """Draws test accuracies over mixing weights.

    Args:
        results: Those of the job `AlphaCorrelation`.
        path: The file; its suffix says the format.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "lit-nas", "font.family": "DejaVu Sans", "font.size": 9.0}):
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for row in results["candidates"]:
            seeds = [100 * value for value in row["test_accuracy"]]
            axes.plot([row["alpha"]] * len(seeds), seeds, ".", color="#56b4e9", markersize=5.0)
            axes.plot([row["alpha"]], [fmean(seeds)], "o", color="#d55e00" if row["chosen"] else "#0072b2")
            axes.annotate(row["operation"], (row["alpha"], fmean(seeds)), (4, 4), textcoords="offset points")
        axes.set_xlabel("mixing weight after the search")
        axes.set_ylabel("test accuracy, per cent")
        axes.set_title(_coefficient(results))
        axes.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _coefficient(results: Mapping[str, Any]) -> str:
    value = results["coefficient"]
    return "Correlation coefficient: " + ("undefined, for one of them is constant" if value is None else f"{value:.2f}")
