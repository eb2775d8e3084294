"""Which run it is: what trackers call it, and with which other runs it belongs together."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_nas.record.job_folder import ORDER

__all__ = ("RunIdentity", "identify")

LONGEST = 128
"""Characters of a name or a group."""


@dataclass(frozen=True)
class RunIdentity:
    """A run as trackers know it."""

    folder: Path
    """Of the run."""
    name: str
    group: str | None
    """The folder of the job, which all its stages and seeds share; None for a fit on its own."""
    job_type: str
    """`search` or `retrain`; of a stage of a job its name without the seed, so that seeds can be grouped."""
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A relative path that is the same whenever the run continues."""
        return re.sub(r"[^\w./-]+", "_", self.folder.as_posix()).strip("/.") or "run"


def identify(folder: Path, kind: str, tags: Sequence[str]) -> RunIdentity:
    """Tells a run by its folder.

    Args:
        folder: Of the run.
        kind: `search` or `retrain`.
        tags: Method, space and data.
    """
    tags = tuple(tag[:64] for tag in tags)
    folder = _relative(folder)
    if not _is_stage(folder):
        return RunIdentity(folder, _last(folder, 1), None, kind, tags)
    stage = re.sub(r"^seed_\d+_", "", folder.name)
    return RunIdentity(folder, _last(folder, 2), folder.parent.as_posix()[-LONGEST:], stage, tags)


def _is_stage(folder: Path) -> bool:
    path = folder / ORDER
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["stage"]["name"] == folder.name)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _relative(folder: Path) -> Path:
    """The folder as seen from here, if it lies here."""
    folder = folder.absolute()
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _last(folder: Path, parts: int) -> str:
    return "/".join(folder.parts[-parts:])[-LONGEST:] or "run"
