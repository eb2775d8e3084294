"""Leaving in good order when the machine is wanted back."""

import os
import signal
import subprocess
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from lit_nas.callbacks.checkpoints import save_last

__all__ = ("StopOnSignal",)


class StopOnSignal(Checkpoint):
    """On SIGTERM or SIGUSR1 finishes the step, saves `last.ckpt` on all ranks together and exits with status 143.

    Lightning's own handlers act in the middle of a step, when weights may be moved for second order, and wait for
    each other under DDP. Here a handler sets a flag and nothing else; all ranks look at their flags between steps.
    Under SLURM, SIGUSR1 puts the job back into the queue.

    Args:
        every_n_steps: Under DDP all ranks ask each other every so many steps.

    Raises:
        ValueError: if it is not positive.
    """

    def __init__(self, every_n_steps: int = 1) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise ValueError(f"StopOnSignal.every_n_steps must be at least 1, not {every_n_steps}.")
        self.every_n_steps = every_n_steps
        self._received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the place of Lightning's handlers, which were installed just before."""
        for number in _signals():
            self._before[number] = signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks between steps."""
        if not trainer.is_last_batch and (trainer.world_size == 1 or (batch_idx + 1) % self.every_n_steps == 0):
            self._leave_if_asked(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the end of an epoch."""
        self._leave_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the handlers back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the handlers back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number

    def _leave_if_asked(self, trainer: Trainer) -> None:
        if not trainer.strategy.reduce_boolean_decision(bool(self._received), all=False):
            return
        again = self._received == getattr(signal, "SIGUSR1", None)
        again = trainer.strategy.reduce_boolean_decision(again, all=False)
        save_last(trainer)
        job = os.environ.get("SLURM_JOB_ID")
        if job and again and trainer.is_global_zero:
            subprocess.run(["scontrol", "requeue", job], check=True)
        raise SystemExit(128 + signal.SIGTERM)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()


def _signals() -> list[int]:
    return [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
