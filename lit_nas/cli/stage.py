"""One stage of a job in this process: fit from the last checkpoint, hand over what was found, test a retraining."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn

from lit_nas.atomic_write import write_text
from lit_nas.callbacks import find_last
from lit_nas.callbacks.expect import search_of
from lit_nas.cli.explain import explained
from lit_nas.cli.full_disk import full_disk_named
from lit_nas.cli.training import TrainingCLI
from lit_nas.internals import put_first
from lit_nas.jobs import Candidates, Order
from lit_nas.jobs.executor import PARENT, read_order
from lit_nas.jobs.stage import CANDIDATES, LAST, TEST
from lit_nas.record.recorded_module import RecordedModule, read_checkpoint
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.search import SearchModule
from lit_nas.trackers import tracker_of

__all__ = ("begin_with", "fit_stage", "stage")


def stage(args: Sequence[str]) -> None:
    """Runs what a job has written for a process of its own.

    Args:
        args: Arguments of `lit-nas stage`.
    """
    parser = argparse.ArgumentParser("lit-nas stage", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="stage.json in the folder of the stage")
    given = parser.parse_args(args)
    if not given.file.is_file():
        raise FileNotFoundError(f"There is no stage '{given.file}'. `lit-nas run` writes it.")
    order = read_order(given.file)
    if os.environ.get(PARENT):
        threading.Thread(target=_stop_with_the_job, daemon=True).start()
    with full_disk_named(order.folder), _alone(order.folder), explained():
        if not (order.folder / order.stage.result).exists():
            fit_stage(order)


def fit_stage(order: Order) -> None:
    """Fits a stage, from its last checkpoint if there is one, and leaves its files.

    Args:
        order: The stage.
    """
    cli = TrainingCLI(order.arguments, run=False)
    last, remark = find_last(order.folder)
    if remark:
        rank_zero_warn(remark)
    if isinstance(cli.model, SearchModule):
        put_first(cli.trainer, _WriteCandidates())  # before the genotype, which tells that all is there
    if last is None and (weights := order.stage.weights) is not None:
        begin_with(cli.model, order.folder.parent / weights.stage / LAST, weights.partly)
    try:
        _fit(cli, order, last)
    finally:
        end_trackers(cli.trainer)


def end_trackers(trainer: Trainer) -> None:
    """Ends the runs of its loggers, because the next stage of this process is another run.

    Args:
        trainer: Whose loggers they are.
    """
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if (tracker := tracker_of(logger)) is not None:
                tracker.end()


def _fit(cli: TrainingCLI, order: Order, last: Path | None) -> None:
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=last)
    if order.stage.kind == "retrain":
        (scores,) = cli.trainer.test(cli.model, datamodule=cli.datamodule)
        if cli.trainer.is_global_zero:
            write_text(order.folder / TEST, json.dumps(scores, indent=2) + "\n")
        cli.trainer.strategy.barrier()  # what follows on any rank finds the file


def begin_with(model: RecordedModule, path: Path, partly: bool) -> None:
    """Gives the network of a model the tensors of equal name and shape that the network of a checkpoint has.

    Args:
        model: A model at its start.
        path: The checkpoint.
        partly: Whether tensors that the checkpoint lacks keep their initial values.

    Raises:
        ValueError: if the checkpoint lacks tensors of the network, or has none of them.
    """
    theirs, ours = read_checkpoint(path)["state_dict"], model.network.state_dict()
    fitting = {name: found for name in ours if (found := theirs.get(f"network.{name}")) is not None}
    fitting = {name: found for name, found in fitting.items() if found.shape == ours[name].shape}
    missing = [name for name in ours if name not in fitting]
    if not fitting or (missing and not partly):
        advice = (
            "Hand over those of a network like it" if partly else "WeightsOf(..., partly=True) begins them as usual"
        )
        raise ValueError(
            f"The weights of '{path}' do not fit the network: {len(missing)} of its {len(ours)} tensors are not there "
            f"in the same name and shape, 'network.{missing[0]}' for one. {advice}."
        )
    model.network.load_state_dict(fitting, strict=False)


class _WriteCandidates(Callback):
    """Writes what each edge still has."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, also if the search was finished but for this."""
        if writes(trainer):
            Candidates.of(search_of(pl_module, self).architecture).save(run_folder(trainer) / CANDIDATES)


def _stop_with_the_job() -> None:
    """Saves and stops when the process of the job is gone."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process works on a stage: that of a job that was killed may still be saving."""
    if "LOCAL_RANK" in os.environ:  # the first process has waited
        yield
        return
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"Waiting for the process that still works in '{folder}'.\n")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            rank_zero_warn(f"'{folder}' cannot be locked: do not run the job twice at the same time.")
        yield
