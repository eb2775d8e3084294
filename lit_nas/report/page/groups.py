"""Runs side by side: which are repetitions of one another, what differs, and means."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev

from lit_nas.report.page.run_files import RunFiles, flat

__all__ = ("Group", "differences", "group_runs", "mean_and_deviation")

OWN = ("seed_everything", "trainer.default_root_dir", "ckpt_path")
"""Keys that each repetition has for itself."""
_SEED = re.compile(r"seed_\d+")
ABSENT = "(absent)"


@dataclass(frozen=True)
class Group:
    """Runs of one configuration with different seeds."""

    name: str
    runs: tuple[RunFiles, ...]

    def scores(self) -> dict[str, list[float]]:
        """Score -> its values over the runs that have it."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            for name, value in run.scores.items():
                found.setdefault(name, []).append(value)
        return found


def group_runs(runs: Sequence[RunFiles]) -> list[Group]:
    """Puts runs together, searches first, whose configurations differ in seeds and in the folders of these seeds alone.

    Runs without a configuration stand alone.

    Args:
        runs: In the order of the page.
    """
    groups: dict[str, list[RunFiles]] = {}
    for run in runs:
        settings = {key: value for key, value in flat(run.config) if key not in OWN}
        key = _SEED.sub("seed_*", json.dumps(settings, default=str, sort_keys=True)) if settings else run.name
        groups.setdefault(f"{run.kind} {key}", []).append(run)
    found = [Group(_common_name(group), tuple(group)) for group in groups.values()]
    return sorted(found, key=lambda group: group.runs[0].kind != "search")  # stable: searches come first


def _common_name(runs: Sequence[RunFiles]) -> str:
    if len(runs) == 1:
        return runs[0].name
    masked = {_SEED.sub("seed_*", run.name) for run in runs}
    return masked.pop() if len(masked) == 1 else ", ".join(run.name for run in runs)


def differences(runs: Sequence[RunFiles]) -> dict[str, list[str]]:
    """Dotted keys whose values are not the same in all configurations -> the values, one for each run.

    Folders of the runs are left out. A key whose class differs brings in the keys of both classes.

    Args:
        runs: Those that have a configuration.
    """
    settings = [{key: _text(value) for key, value in flat(run.config)} for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each if key != "trainer.default_root_dir")
    rows = {key: [each.get(key, ABSENT) for each in settings] for key in keys}
    # a key without a value says as little as one that is not there
    return {k: values for k, values in rows.items() if len(set(values)) > 1 and set(values) != {ABSENT, "null"}}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def mean_and_deviation(values: Sequence[float], digits: int = 4) -> str:
    """`0.9371 ± 0.0036`, the deviation that of a sample; the mean alone of one value, or where one is not finite.

    Args:
        values: At least one.
        digits: Behind the point.
    """
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 and all(map(isfinite, values)) else ""
    return f"{fmean(values):.{digits}f}{spread}"


def shown_scores(groups: Sequence[Group]) -> list[str]:
    """Names of the scores that any group has, accuracies first and those of a test before others.

    Args:
        groups: All groups.
    """
    names: Mapping[str, None] = dict.fromkeys(name for group in groups for name in group.scores())
    first = ("test/accuracy", "table", "val/accuracy", "train/accuracy", "test/", "val/")
    return sorted(names, key=lambda name: next((n for n, start in enumerate(first) if name.startswith(start)), 9))
