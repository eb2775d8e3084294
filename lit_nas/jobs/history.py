"""What the finished stages of a job have found, read from their folders and from nowhere else."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_nas.genotype import Genotype, load_genotype
from lit_nas.jobs.stage import CANDIDATES, GENOTYPE, TEST, Stage
from lit_nas.record.replaced import with_present_classes
from lit_nas.spaces import Candidates, load_candidates

__all__ = ("Found", "History", "read_found", "test_lines", "test_scores")


@dataclass(frozen=True)
class Found:
    """What one finished stage has left."""

    name: str
    """Of the stage."""
    folder: Path
    """Where its files are."""
    configuration: Mapping[str, Any]
    """As resolved, all defaults included."""
    genotype: Genotype | None
    """Of a search."""
    candidates: Candidates | None
    """Of a search: what each edge still has, with probabilities."""
    scores: Mapping[str, float]
    """`test/accuracy` and so on of a retraining, `val/accuracy` or `val/perplexity` of a search that has validated."""
    cost: Mapping[str, Any]
    """`seconds`, `device_hours`, `peak_memory_gib`, `device`, `devices`."""
    last: Path | None
    """Its last checkpoint."""


@dataclass(frozen=True)
class History:
    """The finished stages in the order in which they were proposed."""

    stages: tuple[Found, ...] = ()

    def __iter__(self) -> Iterator[Found]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __contains__(self, name: object) -> bool:
        return any(found.name == name for found in self.stages)

    def __getitem__(self, name: str) -> Found:
        for found in self.stages:
            if found.name == name:
                return found
        raise KeyError(f"The stage `{name}` is not finished; finished are {[found.name for found in self.stages]}.")


def test_scores(found: Found) -> dict[str, float]:
    """What a retraining scored in its test, `test_accuracy` and `test_loss` in classification, by names for files.

    Args:
        found: Of the retraining.
    """
    return {name.replace("/", "_"): value for name, value in found.scores.items() if name.startswith("test/")}


def test_lines(results: Mapping[str, Any]) -> dict[str, str]:
    """Lines of a summary: the accuracy, or all scores of a task that has none.

    Args:
        results: With what `test_scores` gave.
    """
    names = [name for name in results if name.startswith("test_") and name != "test_loss"]
    names = ["test_accuracy"] if "test_accuracy" in names else names or ["test_loss"]
    return {name.replace("_", " "): f"{results[name]:.4f}" for name in names}


def read_found(stage: Stage, folder: Path) -> Found:
    """Reads what a finished stage has left.

    Args:
        stage: The stage.
        folder: Its folder.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    try:
        return _found(stage, folder)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The stage `{stage.name}` has a damaged file: {str(error).rstrip('.')}. Do it again with "
            f"--redo {stage.name}, which keeps the old one under another name."
        ) from error


def _found(stage: Stage, folder: Path) -> Found:
    config, candidates, last = folder / "config.yaml", folder / CANDIDATES, folder / "checkpoints" / "last.ckpt"
    genotype = load_genotype(folder / GENOTYPE) if stage.kind == "search" else None
    scores = _read(folder / TEST) if stage.kind == "retrain" else {}
    for name in ("accuracy", "perplexity"):
        if genotype is not None and (score := genotype.meta.get(f"validation_{name}")) is not None:
            scores = {f"val/{name}": score}
    return Found(
        stage.name,
        folder,
        _configuration(config),
        genotype,
        load_candidates(candidates) if candidates.is_file() else None,
        scores,
        _read(folder / "cost.json"),
        last if last.is_file() else None,
    )


def _configuration(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(with_present_classes(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"'{path}' is not a configuration ({' '.join(str(error).split())})") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error})") from error
