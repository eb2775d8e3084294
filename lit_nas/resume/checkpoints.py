"""Checkpoints that are always there and always whole."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from lit_nas.internals import is_followed, is_trial
from lit_nas.record.recorded_module import read_checkpoint
from lit_nas.record.run_folder import run_folder

__all__ = ("LAST", "PREVIOUS", "SaveCheckpoints", "find_last", "save_last")

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"


def checkpoint_folder(trainer: Trainer) -> Path:
    """Where the checkpoints of a run are."""
    return run_folder(trainer) / "checkpoints"


def save_last(trainer: Trainer) -> Path:
    """Writes `last.ckpt`; what it was before becomes `previous.ckpt`.

    At no moment is there no whole checkpoint: the new one is written beside the old one, flushed to the disk, and
    only then takes its name. Called on all ranks.

    Returns:
        The path of `last.ckpt`.

    Raises:
        OSError: if it cannot be written; the old one is as it was.
    """
    folder = checkpoint_folder(trainer)
    last, fresh = folder / LAST, folder / f".{LAST}.new"
    try:
        trainer.save_checkpoint(fresh, weights_only=False)  # the optimisers too
        if trainer.is_global_zero:
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            if last.exists():
                _keep(last, folder / PREVIOUS)
            os.replace(fresh, last)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        fresh.unlink(missing_ok=True)
        raise OSError(
            f"The checkpoint '{last}' could not be written: {error}. Checkpoints that were there before are as they "
            "were. Free space and continue: a job by the same command, a fit with `--ckpt_path last`."
        ) from error
    trainer.strategy.barrier()
    return last


def _keep(last: Path, previous: Path) -> None:
    """Gives a checkpoint a second name; where the file system has no hard links, another name."""
    aside = previous.with_name(f".{previous.name}.new")
    aside.unlink(missing_ok=True)
    try:
        os.link(last, aside)
    except OSError:
        # until the new one takes its name there is no `last.ckpt`, but `previous.ckpt` is whole and the newest
        os.replace(last, previous)
    else:
        os.replace(aside, previous)


class LastCheckpoint(NamedTuple):
    """What a run continues from."""

    path: Path | None
    """The newest whole checkpoint; None if the run has none yet."""
    remark: str
    """A sentence about damaged ones that were ignored; empty if there were none."""


def find_last(folder: str | Path) -> LastCheckpoint:
    """The newest whole checkpoint of a run.

    Args:
        folder: The run folder.

    Raises:
        ValueError: if there are checkpoints but none is whole.
    """
    problems = []
    for name in (LAST, PREVIOUS):
        path = Path(folder) / "checkpoints" / name
        if not path.exists():
            continue
        try:
            read_checkpoint(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        return LastCheckpoint(path, f"{' '.join(problems)} Continuing from '{path}'." if problems else "")
    if problems:
        raise ValueError(f"The folder '{folder}' has no whole checkpoint. {' '.join(problems)}")
    return LastCheckpoint(None, "")


class SaveCheckpoints(Checkpoint):
    """Keeps `checkpoints/last.ckpt` (and the one before it) at epoch ends, every N steps and every N minutes.

    Args:
        every_n_steps: Batches between checkpoints within an epoch; None saves at epoch ends only.
        every_n_minutes: The same in minutes; None does not look at the clock.

    Raises:
        ValueError: if a number is not positive.
    """

    def __init__(self, every_n_steps: int | None = None, every_n_minutes: float | None = 10.0) -> None:
        super().__init__()
        for name, value in (("every_n_steps", every_n_steps), ("every_n_minutes", every_n_minutes)):
            if value is not None and value <= 0:
                raise ValueError(f"SaveCheckpoints.{name} must be positive or null, not {value}.")
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self._saved, self._late = 0.0, False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds out before training whether the folder can be written.

        Raises:
            OSError: if it cannot.
        """
        if stage != "fit" or is_trial(trainer) or not trainer.is_global_zero:
            return
        folder = checkpoint_folder(trainer)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.write_bytes(b"lit-nas")
            probe.unlink()
        except OSError as error:
            raise OSError(
                f"The folder '{folder}' cannot be written: {error}. Choose another one with trainer.default_root_dir."
            ) from error
        for name in (LAST, PREVIOUS):  # of a process that was killed while it wrote
            (folder / f".{name}.new").unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count the minutes after which a checkpoint is due."""
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves a checkpoint within the epoch where one is due."""
        self._late = self._late or self._due(trainer, batch_idx + 1)
        # a resume would not make up for the validation that follows, nor for what belongs to the end of an epoch
        if self._late and not is_followed(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a checkpoint at the end of the epoch; Lightning calls this after all other callbacks and the module."""
        self._save(trainer)

    def _due(self, trainer: Trainer, batches: int) -> bool:
        if self.every_n_steps is not None and batches % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None or (trainer.world_size > 1 and batches % 10):  # asking all ranks costs
            return False
        return bool(trainer.strategy.broadcast(time.monotonic() - self._saved >= 60 * self.every_n_minutes))

    def _save(self, trainer: Trainer) -> None:
        if not is_trial(trainer):
            save_last(trainer)
            self._saved = time.monotonic()
        self._late = False
