"""Which runs the folders hold that are given: of a run, or of a job or a sweep with its stages."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_nas.record.job_folder import ASIDE
from lit_nas.report.page.run_files import RunFiles, read_json, read_yaml

__all__ = ("JobFiles", "find_runs")


@dataclass(frozen=True)
class JobFiles:
    """The folder of a job or a sweep."""

    folder: Path
    name: str
    """What the page calls it."""
    notes: list[str] = field(default_factory=list)
    """What could not be read, and why."""

    @property
    def job(self) -> str:
        """Its class, without its package."""
        return str(read_yaml(self.folder / "job.yaml", []).get("class_path", "job")).rpartition(".")[2]

    @property
    def results(self) -> dict[str, Any]:
        """`results.json`; empty while the job goes on."""
        return read_json(self.folder / "results.json", self.notes)

    @property
    def pictures(self) -> list[Path]:
        """What the job has drawn."""
        return sorted(path for path in self.folder.iterdir() if path.suffix in (".svg", ".png") and path.is_file())


def find_runs(folders: Sequence[Path]) -> tuple[list[RunFiles], list[JobFiles]]:
    """Finds runs and jobs.

    Args:
        folders: Each that of a search, a retraining, a job or a sweep. Stages that have been done again are left out.

    Raises:
        FileNotFoundError: if a folder is not there, is empty or holds no run.
        NotADirectoryError: if it is a file.
    """
    runs: list[tuple[Path, Path]] = []  # given folder, run
    jobs: list[Path] = []
    for folder in folders:
        found = _runs_in(folder)
        runs += [(folder, run) for run in found if all(run.resolve() != other.resolve() for _, other in runs)]
        if found != [folder] and folder not in jobs:
            jobs.append(folder)
    one = len(folders) == 1
    names = [_name(folder, run, one) for folder, run in runs]
    if len(set(names)) < len(names):  # folders of one name in different places
        names = [str(run) for _, run in runs]
    return (
        [RunFiles(run, name) for (_, run), name in zip(runs, names, strict=True)],
        [JobFiles(folder, folder.resolve().name) for folder in jobs],
    )


def _runs_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder '{folder}'.")
    if not folder.is_dir():
        raise NotADirectoryError(f"'{folder}' is a file: give the folder of a run, a job or a sweep.")
    if RunFiles.is_run(folder):
        return [folder]
    found = [path for path in folder.iterdir() if path.is_dir() and not ASIDE.search(path.name)]
    if runs := sorted((path for path in found if RunFiles.is_run(path)), key=_natural):
        return runs
    state = "is empty" if not any(folder.iterdir()) else "holds no run"
    raise FileNotFoundError(
        f"'{folder}' {state}: a run has files such as config.yaml and metrics.csv, a job or a sweep has runs in its "
        "folders."
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """`stage10` behind `stage9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _name(folder: Path, run: Path, one: bool) -> str:
    own = folder.resolve().name
    return own if run == folder else run.name if one else os.path.join(own, run.name)
