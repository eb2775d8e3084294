"""What a tracker is handed to show: charts, pictures and files, whichever tracker it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ("Chart", "Kept", "Picture", "is_due")

POINTS = 500
"""The most points of a line: a longer history is thinned, so that a chart stays of bounded size."""
LINES = 20
"""The most lines of a panel; more cannot be told apart."""
GROWTH = 1.5
"""By how much a history has to grow before it is shown again."""


@dataclass(frozen=True)
class Chart:
    """Lines over the epochs in panels: one for each edge, with a line for each of its operations."""

    name: str
    title: str
    x_name: str
    xs: Sequence[float]
    """Shared by all lines."""
    panels: Mapping[str, Mapping[str, Sequence[float]]]
    """Panel -> line -> values, as many as `xs`."""

    def readable(self, lines: int = LINES, points: int = POINTS) -> "Chart":
        """The chart without lines that are never among the highest, and with evenly spaced points only.

        Args:
            lines: The most lines of a panel.
            points: The most points of a line; the first and the last one stay.
        """
        last = len(self.xs) - 1
        kept = sorted({round(k * last / (points - 1)) for k in range(points)}) if last >= points else range(last + 1)
        panels = {}
        for panel, found in self.panels.items():
            highest = sorted(found, key=lambda line: max(found[line], default=0.0), reverse=True)[:lines]
            title = panel if len(found) <= lines else f"{panel} (the highest {lines} of {len(found)})"
            panels[title] = {line: [found[line][k] for k in kept] for line in found if line in highest}
        return Chart(self.name, self.title, self.x_name, [self.xs[k] for k in kept], panels)


@dataclass(frozen=True)
class Picture:
    """A PNG file."""

    name: str
    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Kept:
    """A file of which the tracker keeps each version that it is handed."""

    name: str
    kind: str
    """`genotype` or `checkpoint`."""
    path: Path
    aliases: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


def is_due(epoch: int) -> bool:
    """Whether a chart of the whole history is shown after this epoch: after 0, 1, 2, 3, 4, 6, 9, 13, 19, 28, ...

    A chart that was shown after each of E epochs would hold E (E + 1) / 2 rows in all. Each of these is `GROWTH` times
    as long as the one before it, so all of them together hold at most GROWTH / (GROWTH - 1), three, times the rows
    of the last one.

    Args:
        epoch: Counted from 0.
    """
    due = 0
    while due < epoch:
        due = max(due + 1, int(due * GROWTH))
    return due == epoch
