"""Lines and boxes of pictures, and their sizes and colours."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ("GAP", "INPUT", "MARGIN", "NARROW", "ROW", "STATE", "WIDE", "box", "line")

ROW, GAP, MARGIN = 0.36, 0.5, 0.35  # inches
WIDE, NARROW = 0.86, 0.56  # inches: columns of operations, columns of states
STATE, INPUT = "#dbe4ee", "#f6e3c5"


def line(
    axes: "Axes",
    a: tuple[float, float, float],
    b: tuple[float, float, float],
    passes: bool,
    concat: bool,
    faint: bool,
) -> None:
    """From the right side of a to the left side of b, and on to its right side if it only passes there.

    Args:
        axes: What is drawn on.
        a: Left side, right side and height of where it begins.
        b: Those of where it ends.
        passes: Whether it goes on.
        concat: Whether it is dashed, as where nothing is computed.
        faint: Whether it is pale.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    (_, x0, y0), (x1, x2, y1) = a, b
    points, codes = [(x0, y0), ((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)], [1, 4, 4, 4]
    if passes:
        points, codes = [*points, (x2, y1)], [*codes, 2]
    colour, dashes = ("#a8a8a8", (0, (3, 2))) if concat else ("#d5d9dc" if faint else "#5b6770", "solid")
    curve = Curve(points, codes)
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linestyle=dashes, linewidth=1.1, zorder=1))


def box(axes: "Axes", at: tuple[float, float, float], half: float, text: str, fill: str, size: float) -> None:
    """A box with a text.

    Args:
        axes: What is drawn on.
        at: Left side, right side and height of the middle.
        half: Half of how high it is.
        text: What it says.
        fill: Colour.
        size: Of the letters.
    """
    from matplotlib.patches import FancyBboxPatch

    left, right, y = at
    style = f"round,pad=0,rounding_size={half * 0.6:.3f}"
    look: dict[str, Any] = {"facecolor": fill, "edgecolor": "#5b6770", "linewidth": 0.8, "zorder": 2}
    axes.add_patch(FancyBboxPatch((left, y - half), right - left, 2 * half, boxstyle=style, **look))
    axes.text((left + right) / 2, y, text, ha="center", va="center_baseline", fontsize=size, color="#222222", zorder=3)
