"""The run folder: where the callbacks of a run write."""

from pathlib import Path

from pytorch_lightning import Trainer

from lit_nas.internals import is_trial

__all__ = ("run_folder", "writes")


def run_folder(trainer: Trainer) -> Path:
    """The folder of a run, `trainer.default_root_dir`."""
    return Path(trainer.default_root_dir)


def writes(trainer: Trainer) -> bool:
    """Whether this process writes files: rank zero of a run that is neither a dry run nor a sanity check."""
    return trainer.is_global_zero and not is_trial(trainer) and not trainer.sanity_checking
