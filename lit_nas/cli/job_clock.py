"""What a job tells its stages of its progress."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_nas.internals import is_rank_zero
from lit_nas.jobs import Stage, is_finished
from lit_nas.record.job_progress import FILE, JobProgress, PlannedStage

__all__ = ("JobClock",)


class JobClock:
    """Knows the stages of a job, and writes into its folder how far it is.

    Args:
        folder: Of the job.
        parallel: How many stages run at the same time.
        whole: Whether the stages that are known beforehand are all.
    """

    def __init__(self, folder: Path, parallel: int, whole: bool) -> None:
        self.folder, self.parallel, self.whole = folder, parallel, whole
        self._stages: dict[str, tuple[Stage, PlannedStage]] = {}

    def know(self, stage: Stage, config: dict[str, Any]) -> None:
        """Notes a stage.

        Args:
            stage: The stage.
            config: Its resolved configuration.
        """
        epochs = config["trainer"].get("max_epochs")
        known = epochs if isinstance(epochs, int) and epochs > 0 else None
        self._stages.setdefault(stage.name, (stage, PlannedStage(stage.name, stage.section, known)))

    def write(self) -> None:
        """Writes how far the job is, with what finished stages took."""
        for name, (stage, planned) in self._stages.items():
            if planned.seconds is None and is_finished(stage, self.folder):
                self._stages[name] = stage, replace(planned, seconds=self._seconds(name))
        if is_rank_zero():
            stages = tuple(planned for _, planned in self._stages.values())
            JobProgress(stages, self.parallel, self.whole).save(self.folder)

    def stop(self) -> None:
        """Takes the file away, because no stage runs any more."""
        if is_rank_zero():
            (self.folder / FILE).unlink(missing_ok=True)

    def _seconds(self, name: str) -> float:
        try:
            return float(json.loads((self.folder / name / "cost.json").read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0
