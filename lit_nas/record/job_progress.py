"""How far a job is: what its stages read to tell the remaining time of the whole job."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from lit_nas.atomic_write import write_text

__all__ = ("FILE", "JobProgress", "PlannedStage", "TimeLeft", "read_job_progress")

FILE = "progress.json"
"""In the folder of a job."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage as far as its length is known."""

    name: str
    section: str
    """Stages of one section are taken to be alike."""
    epochs: int | None
    """None where the run has another end."""
    seconds: float | None = None
    """What it took, once it is finished."""


@dataclass(frozen=True)
class TimeLeft:
    """An estimate."""

    seconds: float
    at_least: bool
    """Whether the job may propose further stages, which nothing is known of yet."""


@dataclass(frozen=True)
class JobProgress:
    """The stages of a job that are known."""

    stages: tuple[PlannedStage, ...]
    parallel: int = 1
    """Stages that run at the same time."""
    whole: bool = True
    """Whether these are all."""

    def place(self, name: str) -> tuple[int, int]:
        """The number of a stage, from 1, and how many are known.

        Args:
            name: Of the stage.
        """
        return [stage.name for stage in self.stages].index(name) + 1, len(self.stages)

    def time_left(self, name: str, left: float, pace: float) -> TimeLeft | None:
        """Estimates how long the job will still take.

        Epochs of a stage that is not finished are taken to last as long as those of the finished stages of its section;
        where there is none, as those of the present stage. Stages beside it that run at the same time count as if they
        had just begun. What lies between epochs, tests and the start of processes, does not count.

        Args:
            name: The present stage.
            left: Its remaining seconds.
            pace: Its seconds for each epoch so far.

        Returns:
            None where the length of a stage is not known.
        """
        (here,) = (stage for stage in self.stages if stage.name == name)
        paces: dict[str, list[float]] = {}
        for stage in self.stages:
            if stage.seconds is not None and stage.epochs:
                paces.setdefault(stage.section, []).append(stage.seconds / stage.epochs)
        paces[here.section] = [pace]  # what is known now
        waiting = [stage for stage in self.stages if stage.seconds is None and stage.name != name]
        if any(stage.epochs is None for stage in waiting):
            return None
        others = sum((stage.epochs or 0) * fmean(paces.get(stage.section, [pace])) for stage in waiting)
        return TimeLeft(max(left, (left + others) / self.parallel), not self.whole)

    def save(self, folder: Path) -> None:
        """Writes it for the stages.

        Args:
            folder: Of the job.
        """
        write_text(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read_job_progress(stage_folder: Path) -> JobProgress | None:
    """What the job of a stage has written.

    Args:
        stage_folder: Of the stage.

    Returns:
        None if the folder belongs to no such job, or the file is damaged: it is for display alone.
    """
    path = stage_folder.absolute().parent / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stages = tuple(PlannedStage(**stage) for stage in content["stages"])
        found = JobProgress(stages, int(content["parallel"]), bool(content["whole"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if any(stage.name == stage_folder.absolute().name for stage in stages) else None
