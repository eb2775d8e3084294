"""The loggers of a configuration: which run they log."""

import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger

from lit_nas.atomic_write import write_text
from lit_nas.record.names import import_class
from lit_nas.trackers import RunIdentity, find_tracker

__all__ = ("name_loggers",)

WANDB_ID = "wandb_id"
"""The file in the run folder that names the run of Weights & Biases."""


def name_loggers(loggers: Any, run: RunIdentity, may_write: bool) -> None:
    """Gives loggers what their trackers need to find a run again, where the configuration leaves it out.

    Args:
        loggers: As parsed: a list, one, or none; changed in place.
        run: Which run it is.
        may_write: Whether a new run may get an identity that is kept in its folder.
    """
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        path = getattr(logger, "class_path", None)
        if path is None:
            continue
        found = import_class(path)
        if not issubclass(found, Logger) or (tracker := find_tracker(found)) is None:
            continue
        given = logger.init_args
        for key, value in tracker.arguments(given.as_dict(), run).items():
            given[key] = value
        if issubclass(found, WandbLogger) and given.get("id") is None and given.get("version") is None:
            given["id"] = _wandb_id(run.folder, may_write)


def _wandb_id(folder: Path, may_write: bool) -> str | None:
    """An id that is the same in every process that continues a run."""
    path = folder / WANDB_ID
    if not path.exists() and may_write:
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8") if path.exists() else None
