"""Pictures of mixing weights: heat maps of one moment, and lines over the epochs."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

__all__ = ("HeatMap", "draw_heat_map", "draw_panels")

_FONT: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 9.0}
NUMBERS = 200
"""The most fields that have their numbers written into them."""
WIDEST = 24
"""The most columns of a heat map."""
PANEL = (3.4, 2.1)
"""Inches of a panel."""

HeatMap = tuple[Sequence[str], Sequence[str], Sequence[Sequence[float | None]]]
"""Names of the rows, names of the columns, and for each row its values; None where an edge has no such candidate."""


def draw_heat_map(heat_map: HeatMap, title: str, path: Path) -> None:
    """Draws the mixing weights of a cell: edges from top to bottom, operations from left to right.

    Of more than 24 operations those are drawn that weigh most on an edge.

    Args:
        heat_map: The weights.
        title: Above it.
        path: A PNG file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows, columns, values = _widest(heat_map)
    numbers = [[float("nan") if value is None else value for value in row] for row in values]
    low, high = _range(value for row in values for value in row if value is not None)
    height, width = 0.27 * len(rows) + 1.5, 0.52 * len(columns) + 1.9
    with matplotlib.rc_context(_FONT):
        figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(numbers, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_title(title, loc="left", fontweight="bold", fontsize=10)
        axes.set_facecolor("#e8e8e8")  # candidates that an edge does not have
        if len(rows) * len(columns) <= NUMBERS:
            for y, row in enumerate(values):
                for x, value in enumerate(row):
                    if value is not None:
                        colour = "white" if value < low + 0.6 * (high - low) else "black"
                        axes.text(
                            x, y, f"{value:.3f}".removeprefix("0"), ha="center", va="center", fontsize=7, color=colour
                        )
        figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
        figure.savefig(path, facecolor="white")


def _range(values: Iterable[float]) -> tuple[float, float]:
    """From the least to the greatest, so that small differences show early in a search, but no narrower than 0.05."""
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=1.0)
    return low, max(high, low + 0.05)


def _widest(heat_map: HeatMap) -> HeatMap:
    rows, columns, values = heat_map
    if len(columns) <= WIDEST:
        return heat_map
    highest = [max((row[x] or 0.0 for row in values), default=0.0) for x in range(len(columns))]
    kept = sorted(sorted(range(len(columns)), key=lambda x: -highest[x])[:WIDEST])
    return rows, [columns[x] for x in kept], [[row[x] for x in kept] for row in values]


def draw_panels(
    panels: Mapping[str, Mapping[str, Sequence[float]]], xs: Sequence[float], x_name: str, title: str, path: Path
) -> None:
    """Draws lines in panels, four in a row; a line has the same colour in all of them.

    Args:
        panels: Panel -> line -> values.
        xs: Of all lines.
        x_name: What they are.
        title: Above them.
        path: A PNG file.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    low, high = _range(value for lines in panels.values() for values in lines.values() for value in values)
    names = list(dict.fromkeys(line for lines in panels.values() for line in lines))
    palette = [matplotlib.colormaps["tab20"](k) for k in range(20)]
    colours = {name: palette[(2 * k + k // 10) % 20] for k, name in enumerate(names)}  # strong ones first
    columns = min(4, len(panels)) or 1
    rows = ceil(len(panels) / columns) or 1
    with matplotlib.rc_context(_FONT):
        legend = 0.6 + 0.2 * ceil(len(names) / (2 * columns))
        size = PANEL[0] * columns + 0.3, PANEL[1] * rows + legend
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        marker = "o" if len(xs) == 1 else None
        for axes, (panel, lines) in zip(grid.flat, panels.items(), strict=False):
            for line, values in lines.items():
                axes.plot(xs, values, color=colours[line], linewidth=1.4, marker=marker)
            axes.set_title(panel, loc="left", fontsize=9)
            axes.grid(alpha=0.25)
            axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for axes in grid.flat[max(0, len(panels) - columns) : len(panels)]:  # the lowest of each column
            axes.set_xlabel(x_name)
            axes.tick_params(labelbottom=True)
        handles = [Line2D([], [], color=colours[name], label=name) for name in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=2 * columns, fontsize=8, frameon=False)
        figure.suptitle(title, fontweight="bold", fontsize=11)
        figure.savefig(path, facecolor="white")
