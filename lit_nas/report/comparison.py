"""Methods that searched under one protocol side by side: a table for a page, and curves over epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

__all__ = ("comparison_table", "draw_comparison", "mean_and_deviation")

Values = Sequence[float | None]
"""None where there is nothing."""
_STYLES = ("-", "--", ":")
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")


def mean_and_deviation(values: Values) -> str:
    """`93.70 +- 0.36`, the deviation that of a sample; the mean alone of one value, and `-` of none.

    Args:
        values: Those that are None are ignored.
    """
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    return f"{fmean(there):.2f}" + (f" +- {stdev(there):.2f}" if len(there) > 1 else "")


def comparison_table(results: Mapping[str, Any]) -> str:
    """A table in Markdown, a row per method and one for random search.

    Args:
        results: Those of the job `Comparison`.
    """
    dataset, random = results["dataset"], results["random_search"]
    epochs = len(random["test_accuracy"][dataset])
    shown = sorted({0, (epochs - 1) // 4, (epochs - 1) // 2, epochs - 1})
    others = [name for name in results["best"] if name != dataset]
    heading = [f"{dataset}, epoch {epoch + 1}" for epoch in shown] + [f"{name}, epoch {epochs}" for name in others]
    rows = [("Method", *heading, "seconds", "peak GiB")]
    for name, found in results["methods"].items():
        accuracies = found["test_accuracy"]
        places = [(dataset, epoch) for epoch in shown] + [(other, epochs - 1) for other in others]
        cells = [mean_and_deviation([_at(seed, epoch) for seed in accuracies[data]]) for data, epoch in places]
        memory = [value for value in found["peak_memory_gib"] if value is not None]
        rows.append((name, *cells, f"{fmean(found['seconds']):.0f}", f"{max(memory):.2f}" if memory else "-"))
    budgets = [random["test_accuracy"][dataset][epoch] for epoch in shown]
    budgets += [random["test_accuracy"][other][epochs - 1] for other in others]
    rows.append(("random search", *map(_spread, budgets), "", ""))
    rows.append(
        (
            "best cell",
            *[""] * (len(shown) - 1),
            *(f"{results['best'][name]:.2f}" for name in (dataset, *others)),
            "",
            "",
        )
    )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return (
        f"True test accuracy in per cent of the cell of an epoch, mean and deviation over the seeds "
        f"{', '.join(map(str, results['seeds']))}; random search over {random['runs']} runs, after as many cells as "
        "epochs.\n\n" + "\n".join(lines) + "\n"
    )


def draw_comparison(results: Mapping[str, Any], path: Path) -> None:
    """Draws the accuracies of the data set of the search over epochs: a line per method is the mean over its seeds.

    Args:
        results: Those of the job `Comparison`.
        path: The file; its suffix says the format.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    dataset = results["dataset"]
    with matplotlib.rc_context({"svg.hashsalt": "lit-nas", "font.family": "DejaVu Sans", "font.size": 9.0}):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for place, (name, found) in enumerate(results["methods"].items()):
            seeds = found["test_accuracy"][dataset]
            numbers = range(max(map(len, seeds)))
            means = [_mean([_at(seed, epoch) for seed in seeds]) for epoch in numbers]
            colour, style = _COLOURS[place % len(_COLOURS)], _STYLES[place // len(_COLOURS) % len(_STYLES)]
            axes.plot([epoch + 1 for epoch in numbers], means, style, color=colour, label=name, linewidth=1.5)
        means = [spread["mean"] for spread in results["random_search"]["test_accuracy"][dataset]]
        axes.plot(range(1, len(means) + 1), means, color="black", label="random search", linewidth=2.0)
        axes.axhline(results["best"][dataset], color="black", linewidth=0.8, linestyle=":", label="best cell")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch; cells that random search has looked at")
        axes.set_ylabel(f"test accuracy on {dataset}, per cent")
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _at(values: Values, epoch: int) -> float | None:
    return values[epoch] if epoch < len(values) else None


def _mean(values: Values) -> float:
    there = [value for value in values if value is not None]
    return fmean(there) if there else float("nan")


def _spread(value: Mapping[str, float | None]) -> str:
    deviation = value["deviation"]
    return f"{value['mean']:.2f}" + ("" if deviation is None else f" +- {deviation:.2f}")
