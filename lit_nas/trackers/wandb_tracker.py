"""Weights & Biases."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from lit_nas.internals import start_of_wandb
from lit_nas.trackers.held_points import HeldPoints
from lit_nas.trackers.identity import RunIdentity
from lit_nas.trackers.shown import Chart, Kept, Picture
from lit_nas.trackers.tracker import Tracker
from lit_nas.trackers.wandb_file import history_rows

__all__ = ("ResumableWandbLogger", "WandbTracker")

STEP = "trainer/global_step"
"""What `WandbLogger` calls the step of the Trainer."""


class ResumableWandbLogger(HeldPoints, WandbLogger):
    """Lightning's logger for Weights & Biases, which logs no step twice when a run was killed and continues.

    W&B can rewind a run only with a server that has this switched on, and not offline. So this logger reads what the
    processes before it have written on this machine (`wandb/*run-*-<id>`) and leaves those points out. Online, it
    leaves out none that the server has not got. On another machine it leaves out, online, the steps before the last one
    that the server has; offline it can know nothing.
    """

    companions = frozenset({"epoch"})
    _last: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        start = start_of_wandb(self)
        if start.get("anonymous") is None:
            start.pop("anonymous", None)  # wandb warns that it has no effect, whatever it is

    def points(self) -> Iterable[tuple[int, str]]:
        """What the files of earlier processes hold."""
        self._last = self._last_of_server()
        folder = Path(self.save_dir or ".") / "wandb"
        found = set()
        for path in folder.glob(f"*run-*-{self.version}/run-{self.version}.wandb"):
            for row in history_rows(path):
                step = row.pop(STEP, None)
                if step is not None:
                    found |= {(int(step), name) for name in row if not name.startswith("_")}
        return found

    def holds(self, name: str, step: int | None) -> bool:
        """Whether an earlier process has logged a value, and the server has got it."""
        known = super().holds(name, step)
        if self._last is None or step is None:  # offline, or a new run
            return known
        return step <= self._last if known else step < self._last and not self._held

    def _last_of_server(self) -> int | None:
        """The last step that the server has of a run that continues; None offline and for a new run."""
        run = self.experiment
        if self._offline or not getattr(run, "resumed", False):
            return None
        last = run.summary.get(STEP)
        return -1 if last is None else int(last)


class WandbTracker(Tracker):
    """Charts, media and artifacts of Weights & Biases."""

    @staticmethod
    def serves() -> type[WandbLogger]:
        """Lightning's logger."""
        return WandbLogger

    @staticmethod
    def arguments(given: Mapping[str, Any], run: RunIdentity) -> dict[str, Any]:
        """Name, group, job type and tags."""
        wanted = {"name": run.name, "group": run.group, "job_type": run.job_type, "tags": list(run.tags)}
        return {key: value for key, value in wanted.items() if value and given.get(key) is None}

    def begin(self, folder: Path, by_epoch: Sequence[str], together: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Sets the x-axis of each scalar by its whole name, because of two patterns that match either may win."""
        run = self.logger.experiment
        run.define_metric("epoch")
        for name in by_epoch:
            run.define_metric(name, step_metric="epoch")

    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """One custom chart of line series for each panel."""
        import wandb

        for panel, lines in chart.readable().panels.items():
            name = f"{chart.name}/{panel.partition(' ')[0]}"
            if not self.holds(f"{name}_table", step):
                series = wandb.plot.line_series(
                    list(chart.readable().xs), list(lines.values()), list(lines), f"{chart.title} {panel}", chart.x_name
                )
                self.logger.log_metrics({name: series, "epoch": epoch}, step)

    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """An image, which the media panel shows with a slider over the steps."""
        import wandb

        if not self.holds(picture.name, step):
            image = wandb.Image(str(picture.path), caption=picture.caption)
            self.logger.log_metrics({picture.name: image, "epoch": epoch}, step)

    def keep(self, kept: Kept) -> None:
        """A version of an artifact that belongs to the run; equal content makes no new version."""
        import wandb

        run = self.logger.experiment
        artifact = wandb.Artifact(f"{kept.name}-{run.id}", kept.kind, metadata=dict(kept.metadata))
        artifact.add_file(str(kept.path), name=kept.path.name)
        run.log_artifact(artifact, aliases=["latest", *kept.aliases])

    def summarise(self, values: Mapping[str, Any]) -> None:
        """The summary of the run."""
        self.logger.experiment.summary.update(dict(values))

    def end(self) -> None:
        """Finishes the run: a further stage in this process is another one."""
        self.logger.experiment.finish()
