"""Progress of a run: a bar on a terminal, and one line per epoch everywhere."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelSummary, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from rich import get_console
from rich.progress import ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text
from torchmetrics import MeanMetric

from lit_nas.retrain import Retraining
from lit_nas.search import SearchModule

__all__ = ("ShowProgress", "SummariseModel")

LABELS = {
    "weights/loss": "weights",
    "arch/loss": "arch",
    "train/loss": "loss",
    "train/accuracy": "acc",
    "val/accuracy": "val acc",
    "val/perplexity": "val ppl",
}
"""What a line calls the metrics of an epoch, in its order."""
_INTERVAL = 1.0  # seconds between looks at the losses within an epoch, each of which waits for the device


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as in 27:03:59."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


class _TimeLeft(ProgressColumn):
    """Remaining time of the whole run for training, otherwise of the task."""

    def __init__(self, bar: "ShowProgress") -> None:
        self.bar = bar
        super().__init__()

    def render(self, task: Task) -> Text:
        seconds = self.bar.seconds_left if task.id == self.bar.train_progress_bar_id else task.time_remaining
        return Text("" if seconds is None else f"left {duration(seconds)}", style="dim")


class _Losses(ProgressColumn):
    """Losses of the epoch so far; cut rather than wrapped where the terminal is narrow."""

    def __init__(self, bar: "ShowProgress") -> None:
        self.bar = bar
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))

    def render(self, task: Task) -> Text:
        return Text(self.bar.losses if task.id == self.bar.train_progress_bar_id else "")


class ShowProgress(RichProgressBar):
    """Lightning's bar with the remaining time of the run and the losses of the epoch so far, and a line per epoch.

    A line holds the losses of both levels, accuracies or the perplexity, the seconds of the epoch and the remaining
    time of the run. Where the output is not a terminal, there are the lines only. Losses within an epoch are read once
    a second, those of rank zero, because every look waits for the device.

    Args:
        refresh_rate: How often the bar is drawn, per second; 0 shows the lines only.
    """

    def __init__(self, refresh_rate: int = 4) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.losses = ""
        self.seconds_left: float | None = None
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
        """Description, bar, batches, remaining time, losses: together less than 80 characters."""
        bar = CustomBarColumn(bar_width=12)
        batches = BatchesProcessedColumn(style="")
        return [TextColumn("{task.description}"), bar, batches, _TimeLeft(self), _Losses(self)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Nothing: Lightning asks after every step and would wait for the device."""
        return {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the bar, which leaves no trace beside the lines."""
        self._began, self._epoch_began, self._pending, self.seconds_left = None, None, None, None
        super().on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line of the epoch before."""
        self._print_line(trainer)
        self.losses = ""
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts the clocks of the run and of the epoch at the first step that this process takes in them."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, _completed(trainer, batch_idx)
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
                self.losses = _losses_so_far(pl_module)

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
        self._print_line(trainer)
        self._stop_progress()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Prints the line of an epoch at whose end the run was stopped."""
        super().on_exception(trainer, pl_module, exception)
        if isinstance(exception, SystemExit):
            self._print_line(trainer)

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True

    def _estimate(self, trainer: Trainer, batches: float) -> None:
        """Remaining time if the rest takes as long as what this process has done."""
        if self._began is None:
            return
        began, before = self._began
        if (done := _completed(trainer, batches)) > before:
            self.seconds_left = max(0.0, (time.monotonic() - began) / (done - before) * (1 - done))

    def _print_line(self, trainer: Trainer) -> None:
        if self._pending is None:
            return
        (epoch, seconds), self._pending = self._pending, None
        metrics, validated, self._validated = trainer.callback_metrics, self._validated, False
        values = [
            f"{label} {float(metrics[name]):.4f}"
            for name, label in LABELS.items()
            if name in metrics and (validated or not name.startswith("val/"))
        ]
        took = f"{seconds:.1f} s" if seconds < 1000 else f"{seconds:.0f} s"
        left = [f"{duration(self.seconds_left)} left"] if self.seconds_left else []  # neither unknown nor nothing
        if self._enabled:  # on rank zero only
            text = "  ".join([f"epoch {_of(epoch, trainer.max_epochs)}", *values, took, *left])
            get_console().print(Text(text), soft_wrap=True)


def _of(epoch: int, epochs: int | None) -> str:
    """Epochs count from 0, as in the files."""
    if epochs is None or epochs < 1:
        return str(epoch)
    return f"{epoch:{len(str(epochs - 1))}}/{epochs - 1}"


def _completed(trainer: Trainer, batches: float) -> float:
    """Completed fraction of the run after some batches of the present epoch; 0 where the run has no length."""
    fractions = [0.0]
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        fractions.append((trainer.current_epoch + batches / trainer.num_training_batches) / trainer.max_epochs)
    if trainer.max_steps > 0:
        fractions.append(trainer.global_step / trainer.max_steps)
    return max(fractions)


def _losses_so_far(module: LightningModule) -> str:
    """Mean losses of the present epoch on this rank; `MeanMetric.compute` would ask the other ranks."""
    metrics: dict[str, MeanMetric] = {}
    if isinstance(module, SearchModule):
        metrics = {name: metric for name, metric in module.losses.items() if isinstance(metric, MeanMetric)}
    elif isinstance(module, Retraining):
        metrics = {"loss": module.train_loss}
    means = {name: metric.mean_value / metric.weight for name, metric in metrics.items() if metric.update_called}
    return " ".join(f"{name} {float(mean):.4f}" for name, mean in means.items())


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
