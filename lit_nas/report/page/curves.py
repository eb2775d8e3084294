"""Figures of curves over epochs, in the plain form that plotly.js draws: a line for each run, mean and deviation."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from lit_nas.report.page.groups import Group
from lit_nas.report.page.run_files import Point, RunFiles, curves_of, number, read_csv

__all__ = ("COLOURS", "curve_figures")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's, which people with any colour vision tell apart, without yellow and black."""
DASHES = ("solid", "dash", "dot", "dashdot")
TOPICS = (
    ("Losses and accuracies", ("loss", "loss_step", "accuracy", "perplexity")),
    ("Architecture", ("entropy/", "margin/", "sparsity/", "none/", "skips/", "temperature", "table/")),
    ("Learning rates and settings", ("",)),
)
"""Heading -> ends or beginnings of the names of its curves; the first one that fits."""
ELSEWHERE = ("alpha/", "edge/", "cost/", "test/")
"""Columns with a place of their own on the page."""

Figure = dict[str, Any]


def curve_figures(groups: Sequence[Group]) -> dict[str, dict[str, Figure]]:
    """Heading -> name of a curve -> figure with the runs of all groups.

    Args:
        groups: All groups.
    """
    curves = {run.name: _curves(run) for group in groups for run in group.runs}
    names = dict.fromkeys(name for each in curves.values() for name in each)
    figures: dict[str, dict[str, Figure]] = {heading: {} for heading, _ in TOPICS}
    for name in sorted(names):
        if not name.startswith(ELSEWHERE):
            figures[_topic(name)][name] = _figure(
                name, groups, {run: each.get(name, []) for run, each in curves.items()}
            )
    return {heading: found for heading, found in figures.items() if found}


def _curves(run: RunFiles) -> dict[str, list[Point]]:
    """Those of `metrics.csv`, and the true accuracies of the cells of `table.csv`."""
    found = curves_of(run.metrics)
    for row in read_csv(run.folder / "table.csv"):
        if row.get("epoch", "").isdigit() and (value := number(row.get("test_accuracy"))) is not None:
            point = int(row["epoch"]), int(row["epoch"]), value / 100
            found.setdefault(f"table/{row.get('dataset', '')}", []).append(point)
    return found


def _topic(name: str) -> str:
    return next(
        heading for heading, marks in TOPICS if any(name.startswith(m) or (m and name.endswith(m)) for m in marks)
    )


def _figure(name: str, groups: Sequence[Group], curves: Mapping[str, list[Point]]) -> Figure:
    """Over epochs; over steps where an epoch has several values."""
    by_step = any(len({epoch for epoch, *_ in points}) < len(points) for points in curves.values())
    traces: list[Figure] = []
    for place, group in enumerate(groups):
        colour = COLOURS[place % len(COLOURS)]
        lines = {
            run.name: {(step if by_step else epoch): value for epoch, step, value in curves[run.name]}
            for run in group.runs
            if curves[run.name]
        }
        several = len(lines) > 1
        for place_in_group, (label, points) in enumerate(lines.items()):
            dash = DASHES[(place_in_group if several else place // len(COLOURS)) % len(DASHES)]
            look = {"color": colour, "width": 1.2 if several else 2.2, "dash": dash}
            # the mean stands for them in the legend, and hides them with itself
            more = {"opacity": 0.6, "showlegend": False} if several else {}
            traces.append(_trace(points, label, look, legendgroup=group.name, **more))
        if several:
            traces += _mean(list(lines.values()), group.name, colour)
    axis = {"title": {"text": "step" if by_step else "epoch"}}
    return {"data": traces, "layout": {"title": {"text": name}, "xaxis": axis, "yaxis": _constant(traces)}}


def _constant(traces: Sequence[Figure]) -> Figure:
    """The range of an axis whose values are all the same but for rounding; nothing for others."""
    values = [value for trace in traces for value in trace["y"]]
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(abs(low), abs(high)) or high == 0:
        return {}
    return {"range": sorted((0.0, 2 * high))}


def _mean(lines: Sequence[Mapping[int, float]], name: str, colour: str) -> list[Figure]:
    """Mean over the runs, and a band of one deviation around it, where all runs have a value."""
    common = sorted(set.intersection(*(set(line) for line in lines)))
    values = [[line[x] for line in lines] for x in common]
    means, spreads = [fmean(each) for each in values], [stdev(each) for each in values]
    upper = {x: mean + spread for x, mean, spread in zip(common, means, spreads, strict=True)}
    lower = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    fill = {"fill": "toself", "fillcolor": f"rgba({red},{green},{blue},0.18)", "hoverinfo": "skip"}
    area = _trace(upper, f"{name}, ± deviation", {"width": 0}, legendgroup=name, showlegend=False, **fill)
    area |= {"x": [*common, *common[::-1]], "y": [*upper.values(), *lower[::-1]], "mode": "lines"}
    mean = dict(zip(common, means, strict=True))
    return [area, _trace(mean, f"{name}: mean of {len(lines)}", {"color": colour, "width": 3}, legendgroup=name)]


def _trace(points: Mapping[int, float], name: str, line: Figure, **more: Any) -> Figure:
    mode = "lines+markers" if len(points) == 1 else "lines"
    x, y = list(points), list(points.values())
    return {"type": "scatter", "mode": mode, "x": x, "y": y, "name": name, "line": line, **more}
