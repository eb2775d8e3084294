"""The run folder: where the callbacks of a run write, and how."""

import os
import tempfile
from pathlib import Path

from pytorch_lightning import Trainer

__all__ = ("run_folder", "write_text", "writes")


def run_folder(trainer: Trainer) -> Path:
    """The folder of a run, `trainer.default_root_dir`."""
    return Path(trainer.default_root_dir)


def writes(trainer: Trainer) -> bool:
    """Whether this process writes files: rank zero of a run that is neither a dry run nor a sanity check."""
    return trainer.is_global_zero and not trainer.fast_dev_run and not trainer.sanity_checking


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is either the old one or the new one, whatever happens.

    Args:
        path: The file; its folder is made if needed.
        text: Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
