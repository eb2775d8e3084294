"""Correlations of operations as files: a table, a picture, and the groups that follow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lit_nas.atomic_write import write_text
from lit_nas.correlation import Correlations
from lit_nas.spaces import OperatorGroups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ("GROUPS", "draw_correlation", "format_correlation", "write_correlation")

GROUPS = "groups.json"
"""The file of groups that a stage of a job hands over."""


def write_correlation(
    correlations: Correlations, groups: OperatorGroups, folder: Path, picture: str | None = "svg"
) -> None:
    """Writes `correlation.csv`, `correlation.svg` and, when all else is there, `groups.json`.

    Args:
        correlations: What was measured.
        groups: What follows from it.
        folder: Where the files are written.
        picture: `svg`, `png`, or None for no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "correlation.csv", correlations.csv())
    if picture:
        draw_correlation(correlations, folder / f"correlation.{picture}")
    groups.save(folder / GROUPS)


def format_correlation(correlations: Correlations, groups: OperatorGroups) -> str:
    """The mean matrix and the groups as text.

    Args:
        correlations: What was measured.
        groups: What follows from it.
    """
    names, matrix = correlations.operations, correlations.mean()
    wide = max(map(len, names))
    numbers = [[_two_digits(value) for value in row[: place + 1]] for place, row in enumerate(matrix)]
    lines = [
        f"Correlation of outputs ({correlations.definition} centred), mean over {len(correlations.edges)} edges and "
        f"{correlations.images} images:"
    ]
    for name, row in zip(names, numbers, strict=True):
        lines.append(f"  {name:{wide}}  " + " ".join(f"{number:>{wide}}" for number in row))
    lines.append("  " + " " * wide + "  " + " ".join(f"{name:>{wide}}" for name in names))
    lines.append("Groups, each behind its key operator:")
    for key, members in groups.groups.items():
        others = ", ".join(name for name in members if name != key)
        lines.append(f"  {key}" + (f": {others}" if others else ""))
    for edge in correlations.edges:
        if edge.constant:
            lines.append(f"Constant on {edge.place}, which is left out of their means: {', '.join(edge.constant)}.")
    return "\n".join(lines) + "\n"


def draw_correlation(correlations: Correlations, path: Path) -> None:
    """Draws the mean matrix as a heat map with its numbers; equal matrices give equal bytes.

    Args:
        correlations: What was measured.
        path: The file; its suffix says the format.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names, matrix = correlations.operations, correlations.mean()
    side = 1.8 + 0.55 * len(names)
    with matplotlib.rc_context({"svg.hashsalt": "lit-nas", "font.family": "DejaVu Sans", "font.size": 9.0}):
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for y, row in enumerate(matrix):
            _write_numbers(axes, y, row)
        figure.colorbar(image, ax=axes, label="correlation")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})


def _write_numbers(axes: "Axes", y: int, row: Sequence[float]) -> None:
    for x, value in enumerate(row):
        axes.text(x, y, _two_digits(value), ha="center", va="center", color="white" if abs(value) > 0.6 else "black")


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no minus before zero
