"""Curves of a run in its own folder, without gaps and repetitions after a resume."""

import csv
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

__all__ = ("RewindCurves", "RunLogger")


class _Writer(ExperimentWriter):
    """Continues the file of an earlier process and keeps the header of that file."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        rows = self.rows()
        self.metrics_keys = list(rows[0]) if rows else []

    def _check_log_dir_exists(self) -> None:
        """A file that is there belongs to this run: the command line sees to that."""

    def rows(self) -> list[dict[str, str]]:
        """What the file holds, less a last line that a kill has cut."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if None not in row.values() and None not in row and row["step"].isdigit()]


class RunLogger(CSVLogger):
    """Lightning's CSV logger, writing `metrics.csv` straight into the run folder and at once.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=1)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def rows(self) -> list[dict[str, str]]:
        """What has been logged so far, by name, with the `step`; empty where a row has no value."""
        found: list[dict[str, str]] = self.experiment.rows()
        return found

    @rank_zero_only
    def rewind(self, count: int) -> None:
        """Drops all rows but the first `count`; a run that is continued from there logs the others again."""
        writer = self.experiment
        rows = writer.rows()[:count]
        Path(writer.metrics_file_path).unlink(missing_ok=True)
        writer.metrics_keys = []
        if rows:
            writer.metrics = [{key: value for key, value in row.items() if value != ""} for row in rows]
            writer.save()


class RewindCurves(Callback):
    """Takes the curves of a `RunLogger` back to where the run continues."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._count = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remembers the Trainer, whose loggers hold the curves."""
        self._trainer = trainer

    def _loggers(self) -> list[RunLogger]:
        return [logger for logger in self._trainer.loggers if isinstance(logger, RunLogger)] if self._trainer else []

    def state_dict(self) -> dict[str, Any]:
        """Number of rows of the curves at this checkpoint."""
        loggers = self._loggers() if self._trainer and self._trainer.is_global_zero else []
        return {"rows": [len(logger.experiment.rows()) for logger in loggers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the number of rows that the curves had at the checkpoint."""
        self._count = max(state_dict["rows"], default=0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops what the interrupted process logged after its last checkpoint."""
        for logger in self._loggers():
            logger.rewind(self._count)
