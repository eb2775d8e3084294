"""Progress of a run: a bar on a terminal, and one line per epoch everywhere."""

import os
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelSummary, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from rich import get_console
from rich.progress import ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from lit_nas.callbacks.progress_texts import (
    LABELS,
    completed,
    duration,
    epoch_of,
    health_so_far,
    losses_so_far,
)
from lit_nas.record.job_folder import COMMAND
from lit_nas.record.job_progress import JobProgress, read_job_progress
from lit_nas.record.run_folder import run_folder

__all__ = ("ShowProgress", "SummariseModel")

_INTERVAL = 1.0  # seconds between looks at the losses within an epoch, each of which waits for the device


class _TimeLeft(ProgressColumn):
    """Remaining time of the whole run for training, otherwise of the task."""

    def __init__(self, bar: "ShowProgress") -> None:
        self.bar = bar
        super().__init__()

    def render(self, task: Task) -> Text:
        seconds = self.bar.seconds_left if task.id == self.bar.train_progress_bar_id else task.time_remaining
        return Text("" if seconds is None else f"left {duration(seconds)}", style="dim")


class _Job(ProgressColumn):
    """Remaining time of the job; cut rather than wrapped where the terminal is narrow."""

    def __init__(self, bar: "ShowProgress") -> None:
        self.bar = bar
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        return Text(self.bar.job_left if task.id == self.bar.train_progress_bar_id else "", style="dim")


class ShowProgress(RichProgressBar):
    """A bar with the remaining time of the run and of its job, figures of the run below it, and a line per epoch.

    The figures are the losses of the epoch so far, the last accuracies, and in a search the entropy of the mixing
    weights (nats, mean over cells), the temperature where there is one, and the part of the candidates whose weight is
    exactly 0 where there are some. A line holds the same, with the seconds of the epoch. Where the output is not a
    terminal, there are the lines only. Figures within an epoch are read once a second, those of rank zero, because
    every look waits for the device. The remaining time of a job is an estimate, see `JobProgress.time_left`.

    Args:
        refresh_rate: How often the bar is drawn, per second; 0 shows the lines only.
    """

    def __init__(self, refresh_rate: int = 4) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.figures = ""
        self.seconds_left: float | None = None
        self.job_left = ""
        self._job: JobProgress | None = None
        self._stage = ""
        self._scores = ""  # accuracies of the epoch before
        self._began: tuple[float, float] | None = None  # time and completed fraction of the run at the first step
        self._epoch_began: float | None = None
        self._looked = 0.0
        self._validated = False
        self._pending: tuple[int, float] | None = None  # epoch and its seconds, until its metrics are known

    @property
    def is_enabled(self) -> bool:
        """Whether there is a bar."""
        return super().is_enabled and get_console().is_terminal

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Description, bar, batches, remaining times: together less than 80 characters."""
        bar = CustomBarColumn(bar_width=12)
        batches = BatchesProcessedColumn(style="")
        return [TextColumn("{task.description}"), bar, batches, _TimeLeft(self), _Job(self)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Nothing: Lightning asks after every step and would wait for the device."""
        return {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the bar, which leaves no trace beside the lines."""
        self._began, self._epoch_began, self._pending, self.seconds_left = None, None, None, None
        self.job_left, self._scores = "", ""
        self._read_job(trainer)
        super().on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line of the epoch before."""
        self._print_line(trainer, pl_module)
        self.figures = ""
        self._read_job(trainer)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clocks of the run and of the epoch at the first step that this process takes in them."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, completed(trainer, batch_idx)
        if self._epoch_began is None:
            self._epoch_began = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advances the bar by one step, and now and then reads the losses."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if (now := time.monotonic()) - self._looked >= _INTERVAL:
            self._looked = now
            self._estimate(trainer, batch_idx + 1)
            if self.is_enabled:
                self.figures = "  ".join(
                    filter(None, [losses_so_far(pl_module), self._scores, health_so_far(pl_module)])
                )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the validation metrics are those of this epoch."""
        super().on_validation_end(trainer, pl_module)
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock of the epoch; the module logs its metrics after this hook, so the line is printed later."""
        super().on_train_epoch_end(trainer, pl_module)
        self._estimate(trainer, trainer.num_training_batches)
        if self._epoch_began is not None:
            self._pending = trainer.current_epoch, time.monotonic() - self._epoch_began
        self._epoch_began = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the last line and takes the bar away, before other callbacks print what was found."""
        self._print_line(trainer, pl_module)
        self._stop_progress()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Prints the line of an epoch at whose end the run was stopped."""
        super().on_exception(trainer, pl_module, exception)
        if isinstance(exception, SystemExit):
            self._print_line(trainer, pl_module)

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True
            table = self.progress.get_renderables  # the method that rich has for this
            self.progress.get_renderables = lambda: [*table(), *self._below()]  # type: ignore[method-assign]

    def _below(self) -> list[Text]:
        """The line of figures, while there are any."""
        return [Text(self.figures, no_wrap=True, overflow="ellipsis")] if self.figures else []

    def _get_train_description(self, current_epoch: int) -> str:
        """With the stage and its number, where the run is one of a job."""
        text = super()._get_train_description(current_epoch)
        return text if self._job is None else f"{self._stage} {'/'.join(map(str, self._job.place(self._stage)))} {text}"

    def _read_job(self, trainer: Trainer) -> None:
        """What is known of the job now; a run on its own has none."""
        folder = run_folder(trainer)
        self._job = read_job_progress(folder) if COMMAND in os.environ else None
        self._stage = folder.absolute().name

    def _estimate(self, trainer: Trainer, batches: float) -> None:
        """Remaining time if the rest takes as long as what this process has done."""
        if self._began is None:
            return
        began, before = self._began
        if (done := completed(trainer, batches)) > before:
            whole = (time.monotonic() - began) / (done - before)
            self.seconds_left = max(0.0, whole * (1 - done))
            if self._job is not None and trainer.max_epochs is not None and trainer.max_epochs > 0:
                left = self._job.time_left(self._stage, self.seconds_left, whole / trainer.max_epochs)
                sign = "" if left is None else f"job {'>' if left.at_least else '~'}"
                self.job_left = "" if left is None else f"{sign}{duration(left.seconds)}"

    def _print_line(self, trainer: Trainer, module: LightningModule) -> None:
        if self._pending is None:
            return
        (epoch, seconds), self._pending = self._pending, None
        metrics, validated, self._validated = trainer.callback_metrics, self._validated, False
        named = {
            name: f"{label} {float(metrics[name]):.4f}"
            for name, label in LABELS.items()
            if name in metrics and (validated or not name.startswith("val/"))
        }
        self._scores = "  ".join(text for name, text in named.items() if not name.endswith("loss")) or self._scores
        took = f"{seconds:.1f} s" if seconds < 1000 else f"{seconds:.0f} s"
        left = f"{duration(self.seconds_left)} left" if self.seconds_left else ""  # neither unknown nor nothing
        # lines of stages at the same time come between each other
        stage = self._stage if self._job is not None and self._job.parallel > 1 else ""
        if not self._enabled:  # on rank zero only
            return
        console, begins = get_console(), [stage, f"epoch {epoch_of(epoch, trainer.max_epochs)}", *named.values()]
        for health, job in ((health_so_far(module), self.job_left), ("", self.job_left), ("", "")):
            text = "  ".join(filter(None, [*begins, health, took, left, job]))
            if not console.is_terminal or len(text) <= console.width:  # a log is as wide as it needs to be
                break
        console.print(Text(text), soft_wrap=True)


class SummariseModel(ModelSummary):
    """Says in a line or two how many parameters the parts of a module have."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Prints the parts that have parameters."""
        columns = dict(summary_data)
        rows = zip(columns["Name"], columns["Type"], columns["Params"], strict=True)
        parts = [f"{name} ({kind}) {count.strip()}" for name, kind, count in rows if count.strip() != "0"]
        get_console().print(Text(f"Parameters: {', '.join(parts)}"))
