"""CSV files, and what lies beside them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from lit_nas.atomic_write import write_text
from lit_nas.report.draw_alphas import draw_panels
from lit_nas.resume import RunLogger
from lit_nas.trackers.shown import Chart, Kept, Picture
from lit_nas.trackers.tracker import Tracker

__all__ = ("CsvTracker", "RunFolderTracker")

SUMMARY = "summary.json"


class RunFolderTracker(Tracker):
    """The run folder, which every run has: only the summary is new there.

    The course of the architecture is in `alphas.csv`, of which `lit-nas report` draws charts; cells, genotypes and
    checkpoints are files already.
    """

    draws = False

    @staticmethod
    def serves() -> type[CSVLogger]:
        """The logger that runs have by themselves."""
        return RunLogger

    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """Nothing."""

    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """Nothing."""

    def keep(self, kept: Kept) -> None:
        """Nothing: it is a file already."""

    def summarise(self, values: Mapping[str, Any]) -> None:
        """`summary.json`."""
        write_text(Path(self.logger.log_dir) / SUMMARY, json.dumps(dict(values), indent=2) + "\n")


class CsvTracker(RunFolderTracker):
    """A `CSVLogger` that the configuration names: pictures and charts lie beside its `metrics.csv`."""

    draws = True

    @staticmethod
    def serves() -> type[CSVLogger]:
        """Lightning's logger."""
        return CSVLogger

    def _path(self, name: str) -> Path:
        path = Path(self.logger.log_dir) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """A picture of all panels; each replaces the one before it."""
        shown = chart.readable()
        draw_panels(shown.panels, shown.xs, shown.x_name, shown.title, self._path(chart.name))

    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """A file for each epoch."""
        shutil.copyfile(picture.path, self._path(f"{picture.name}/epoch-{epoch:04d}"))
