"""A walk through a space of cells as files: tables that grow with it, a page, and the two pictures of the paper.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, figures 3 (right) and 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lit_nas.report.comparison import mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ("draw_accuracy", "draw_trajectories", "networks_csv", "outer_search_report", "trajectory_csv")

FEATURES = ("variance of eccentricities", "variance of degrees", "number of vertices")
_COLOURS = ("#0072b2", "#d55e00", "#009e73")


def trajectory_csv(found: Mapping[str, Any]) -> str:
    """A line for each point of each row in each iteration; point 0 is the anchor.

    Args:
        found: What the job `OuterSearch` has found so far. The last iteration may lack probabilities.
    """
    lines = ["iteration,row,point,eccentricity,degree,vertices,dag,probability"]
    for each in found["trajectory"]:
        for place, row in enumerate(each["rows"], 1):
            values = row["probabilities"] or [""] * len(row["points"])
            for number, (point, dag, value) in enumerate(zip(row["points"], row["dags"], values, strict=True)):
                lines.append(",".join(map(str, (each["iteration"], place, number, *point, dag, value))))
    return "\n".join(lines) + "\n"


def networks_csv(found: Mapping[str, Any]) -> str:
    """A line for each network that was trained from scratch.

    Args:
        found: What the job `OuterSearch` has found so far.
    """
    lines = ["iteration,run,test_accuracy,dags"]
    for each in found["networks"]:
        for run, accuracy in enumerate(each["test_accuracy"], 1):
            lines.append(f"{each['iteration']},{run},{accuracy},{' '.join(each['dags'])}")
    return "\n".join(lines) + "\n"


def outer_search_report(results: Mapping[str, Any]) -> str:
    """A page in Markdown: accuracies over iterations, where anchors began and ended, and the time.

    Args:
        results: Those of the job `OuterSearch`.
    """
    networks = [
        (str(each["iteration"]), mean_and_deviation([100 * value for value in each["test_accuracy"]]), *each["dags"])
        for each in results["networks"]
    ]
    first, last = (results["trajectory"][place]["rows"] for place in (0, -1))
    anchors = [
        (f"row {place}", *(f"{_numbers(row['points'][0])}, {row['dags'][0]}" for row in pair))
        for place, pair in enumerate(zip(first, last, strict=True), 1)
    ]
    rows = [f"row {place}" for place in range(1, 1 + len(first))]
    return (
        f"# Outer search of {len(results['trajectory']) - 1} iterations\n\n"
        "Test accuracy in per cent of the chains of the anchors, each trained from scratch.\n\n"
        + _table(("Iteration", "test accuracy", *rows), networks)
        + f"\n{_sentence(results['trend'])}\n\n![accuracy](accuracy.svg)\n\n"
        f"Anchors: {', '.join(FEATURES)}, each from 0 to 1, and the cell next to them.\n\n"
        + _table(("Row", "first anchor", "last anchor"), anchors)
        + "\n![trajectories](trajectories.svg)\n\n"
        f"Searches took {results['search_seconds']:.0f} s, the networks {results['retrain_seconds']:.0f} s.\n"
    )


def draw_accuracy(results: Mapping[str, Any], path: Path) -> None:
    """Draws the accuracies of the networks over iterations, with the line of least squares.

    Args:
        results: Those of the job `OuterSearch`.
        path: The file; its suffix says the format.
    """
    with _figure(path, (6.0, 4.0)) as figure:
        axes = figure.add_subplot()
        pairs = [(each["iteration"], 100 * value) for each in results["networks"] for value in each["test_accuracy"]]
        xs, ys = zip(*pairs, strict=True)
        axes.plot(xs, ys, "o", color=_COLOURS[0], markersize=4.0)
        if (trend := results["trend"]) is not None:
            ends = (min(xs), max(xs))
            axes.plot(ends, [100 * (trend["intercept"] + trend["slope"] * x) for x in ends], color=_COLOURS[1])
        axes.set_xlabel("iteration")
        _count_iterations(axes)
        axes.set_ylabel("test accuracy, per cent")
        axes.set_title(_sentence(results["trend"]), fontsize=9.0)
        axes.grid(alpha=0.3)


def draw_trajectories(results: Mapping[str, Any], path: Path) -> None:
    """Draws the three features of the anchors over iterations: for each row from shallow to deep, then their mean.

    Args:
        results: Those of the job `OuterSearch`.
        path: The file; its suffix says the format.
    """
    steps = [each["iteration"] for each in results["trajectory"]]
    anchors = [[row["points"][0] for row in each["rows"]] for each in results["trajectory"]]
    count = len(anchors[0])
    with _figure(path, (7.0, 1.6 * (count + 1))) as figure:
        panels = figure.subplots(count + 1, 1, sharex=True, sharey=True)
        for place, axes in enumerate(panels[:-1]):
            _draw_features(axes, steps, [rows[place] for rows in anchors])
            axes.set_ylabel(f"row {place + 1}")
        means = [[fmean(values) for values in zip(*rows, strict=True)] for rows in anchors]
        _draw_features(panels[-1], steps, means)
        panels[-1].set_ylabel("mean of rows")
        panels[-1].set_xlabel("iteration")
        _count_iterations(panels[-1])
        panels[0].set_ylim(-0.05, 1.05)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)


def _draw_features(axes: "Axes", steps: Sequence[int], points: Sequence[Sequence[float]]) -> None:
    for values, name, colour in zip(zip(*points, strict=True), FEATURES, _COLOURS, strict=True):
        axes.plot(steps, values, color=colour, label=name, linewidth=1.5)
    axes.grid(alpha=0.3)


def _count_iterations(axes: "Axes") -> None:
    """There is nothing between two iterations."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator["Figure"]:
    """A figure that is written at the end; equal numbers give equal bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "lit-nas", "font.family": "DejaVu Sans", "font.size": 9.0}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _sentence(trend: Mapping[str, float] | None) -> str:
    if trend is None:
        return "Linear trend: undefined, for there are fewer than three accuracies, or all are equal."
    return (
        f"Linear trend: {100 * trend['slope']:+.3f} points per iteration, Pearson r = {trend['pearson']:.2f}, "
        f"p = {trend['p_value']:.2g}."
    )


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (heading, *rows)]
    lines.insert(1, "|" + "---|" * len(heading))
    return "\n".join(lines) + "\n"


def _numbers(point: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in point)
