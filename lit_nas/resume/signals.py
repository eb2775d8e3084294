"""Leaving in good order when the machine is wanted back, or the user has seen enough."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from lit_nas.internals import batches_of_epoch, is_followed, is_rank_zero, is_trial
from lit_nas.resume.checkpoints import save_last

__all__ = ("StopOnSignal",)


class StopOnSignal(Checkpoint):
    """On SIGINT (Ctrl-C), SIGTERM or SIGUSR1 finishes the step, saves `last.ckpt` on all ranks together and exits.

    The exit status is 130 after SIGINT, 143 otherwise. A second SIGINT ends the process at once. Lightning's own
    handlers act in the middle of a step, when weights may be moved for second order, and wait for each other under
    DDP. Here a handler sets a flag and nothing else; all ranks look at their flags between steps. Under SLURM, SIGUSR1
    puts the job back into the queue.

    Args:
        every_n_steps: Under DDP all ranks ask each other every so many steps.

    Raises:
        ValueError: if it is not positive.
    """

    command: str | None = None
    """The shell command that continues the run, which the command line sets."""

    def __init__(self, every_n_steps: int = 1) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise ValueError(f"StopOnSignal.every_n_steps must be at least 1, not {every_n_steps}.")
        self.every_n_steps = every_n_steps
        self._received, self._late = 0, False
        self._before: dict[int, Any] = {}
        self._farewell = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lets SIGINT end the process while the data are read; without training there is nothing to save."""
        if stage == "fit":
            self._end_on_interrupt()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the handler back, because Lightning now notes which handlers to restore at the end."""
        self._give_back()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets SIGINT end the process."""
        self._end_on_interrupt()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets SIGINT end the process, unless the validation is part of a fit, which has something to save."""
        if trainer.state.fn == "validate":
            self._end_on_interrupt()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets SIGINT end the process."""
        self._end_on_interrupt()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets SIGINT end the process."""
        self._end_on_interrupt()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handlers, which were installed just before."""
        self._received = 0
        self._install(["SIGINT", "SIGTERM", "SIGUSR1"], self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves and stops between steps if a signal has come; behind a validation, if one follows the step."""
        asks = self._late or trainer.world_size == 1 or (batch_idx + 1) % self.every_n_steps == 0
        self._late = asks and is_followed(trainer)
        if asks and not self._late:
            self._leave_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves and stops at the end of an epoch if a signal has come."""
        self._leave_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the handlers back; from here on there is nothing more to save."""
        self._give_back()
        self._end_on_interrupt()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the handlers back, and says how to continue now that no progress bar is in the way."""
        self._give_back()
        sys.stderr.write(self._farewell)
        self._farewell = ""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the handlers back."""
        self._give_back()

    def _end_on_interrupt(self) -> None:
        self._install(["SIGINT"], self._end)

    def _install(self, names: list[str], handler: Any) -> None:
        if threading.current_thread() is not threading.main_thread():  # only the main thread may, and gets them
            return
        for name in names:
            if hasattr(signal, name):  # Windows lacks some
                before = signal.signal(getattr(signal, name), handler)
                self._before.setdefault(getattr(signal, name), before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received == number == signal.SIGINT:
            self._end(number, frame)
        self._received = number
        if number == signal.SIGINT and is_rank_zero():
            # not through `sys.stderr`, in whose midst the signal may have come
            os.write(2, b"\nStopping after this step; Ctrl-C once more ends at once, without saving.\n")

    @staticmethod
    def _end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third one does not even tidy up
        raise SystemExit(128 + signal.SIGINT)

    def _leave_if_asked(self, trainer: Trainer) -> None:
        decide = trainer.strategy.reduce_boolean_decision
        if not decide(bool(self._received), all=False):
            return
        again = decide(self._received == getattr(signal, "SIGUSR1", None), all=False)
        by_user = decide(self._received == signal.SIGINT, all=False)
        path = None if is_trial(trainer) else save_last(trainer)
        job = os.environ.get("SLURM_JOB_ID")
        if job and again and trainer.is_global_zero:
            subprocess.run(["scontrol", "requeue", job], check=True)
        if trainer.is_global_zero and path is not None:
            self._farewell = self._describe(trainer, path)
        raise SystemExit(128 + (signal.SIGINT if by_user else signal.SIGTERM))

    def _describe(self, trainer: Trainer, path: Path) -> str:
        """What was saved and how to go on."""
        epoch, batch = trainer.current_epoch, batches_of_epoch(trainer)
        how = f"Trainer.fit(..., ckpt_path={str(path)!r})" if self.command is None else self.command
        return f"\nStopped in epoch {epoch} after {batch} batches.\nSaved: {path}\nContinue with:\n  {how}\n"

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()
