"""What a run folder holds so far, also while the run goes on."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lit_nas.genotype import Genotype, load_genotype

__all__ = ("RunFiles", "read_csv", "read_json", "read_yaml")

MARKS = ("metrics.csv", "alphas.csv", "config.yaml", "genotype.json", "cost.json", "test.json")
"""Any of them makes a folder that of a run."""


@dataclass(frozen=True)
class RunFiles:
    """A run folder. Files that are not there yet are empty; what cannot be read is told in `notes`."""

    folder: Path
    name: str
    """What the page calls it."""
    notes: list[str] = field(default_factory=list)
    """What could not be read, and why."""

    @staticmethod
    def is_run(folder: Path) -> bool:
        """Whether a folder is that of a search or a retraining."""
        return any((folder / mark).is_file() for mark in MARKS)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return read_yaml(self.folder / "config.yaml", self.notes)

    @cached_property
    def metrics(self) -> list[dict[str, str]]:
        """Rows of `metrics.csv`."""
        return read_csv(self.folder / "metrics.csv")

    @cached_property
    def alphas(self) -> list[dict[str, str]]:
        """Rows of `alphas.csv`."""
        return read_csv(self.folder / "alphas.csv")

    @cached_property
    def cost(self) -> dict[str, Any]:
        """`cost.json`."""
        return read_json(self.folder / "cost.json", self.notes)

    @cached_property
    def genotype(self) -> Genotype | None:
        """The last cells: those of `genotype.json`, or those of the last epoch while the run goes on."""
        path = self.folder / "genotype.json"
        if not path.is_file():
            epochs = sorted(self.folder.glob("genotypes/epoch-*.json"))
            if not epochs:
                return None
            path = epochs[-1]
        try:
            return load_genotype(path)
        except (ValueError, OSError) as error:
            self.notes.append(str(error))
            return None

    @property
    def model(self) -> str:
        """The class of the model, without its package; `-` if nothing says so."""
        return str(_section(self.config, "model").get("class_path", "-")).rpartition(".")[2]

    @property
    def data(self) -> str:
        """The class of the data, without its package and the words that all have in common."""
        name = str(_section(self.config, "data").get("class_path", "-")).rpartition(".")[2]
        return name.removesuffix("DataModule") or name

    @property
    def kind(self) -> str:
        """`search`, `retraining` or, where nothing tells, `fit`."""
        if self.alphas or self.genotype is not None:
            return "search"
        return (
            "retraining"
            if self.model in ("RetrainModule", "LanguageRetrainModule") or (self.folder / "test.json").is_file()
            else "fit"
        )

    @property
    def seed(self) -> Any:
        """`seed_everything`."""
        return self.config.get("seed_everything", "-")

    @cached_property
    def epochs(self) -> int:
        """Epochs that have been logged."""
        ends = [row for row in self.metrics if row.get("train/loss") or row.get("weights/loss")]
        rows = self.alphas or ends or self.metrics
        return 1 + max((int(row["epoch"]) for row in rows if row.get("epoch", "").isdigit()), default=-1)

    @property
    def progress(self) -> str:
        """`50 of 50`, or `3 of 50, unfinished`."""
        planned = _section(self.config, "trainer").get("max_epochs")
        if not isinstance(planned, int) or planned < 0:
            return str(self.epochs)
        return f"{self.epochs} of {planned}" + ("" if self.epochs >= planned else ", unfinished")

    @cached_property
    def scores(self) -> dict[str, float]:
        """Last value of each accuracy and loss; those of `test.json`; true accuracies of the table."""
        found: dict[str, float] = {}
        for name, points in curves_of(self.metrics).items():
            if name.endswith(("accuracy", "loss", "perplexity")):
                found[name] = points[-1][2]
        for row in read_csv(self.folder / "table.csv"):
            if (value := number(row.get("test_accuracy"))) is not None:
                found[f"table/{row.get('dataset', '')}"] = value / 100
        tested = read_json(self.folder / "test.json", self.notes)
        found |= {name: value for name, value in tested.items() if isinstance(value, (int, float))}
        return found


Point = tuple[int, int, float]
"""Epoch, step, value."""


def curves_of(rows: list[dict[str, str]]) -> dict[str, list[Point]]:
    """The curves of a `metrics.csv`, by the name of their column.

    Args:
        rows: Of the file.
    """
    curves: dict[str, list[Point]] = {}
    for row in rows:
        if not (row.get("epoch", "").isdigit() and row.get("step", "").isdigit()):
            continue
        for name, text in row.items():
            if name not in ("epoch", "step") and (value := number(text)) is not None:
                curves.setdefault(name, []).append((int(row["epoch"]), int(row["step"]), value))
    return curves


def number(text: str | None) -> float | None:
    """A finite number; None for any other text."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value - value == 0 else None


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, less a last line that is being written, and lines that are too short or too long.

    Args:
        path: The file; there are no rows while it is not there.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    whole = text[: text.rfind("\n") + 1].replace("\0", "")
    lines = csv.reader(io.StringIO(whole))
    header = next(lines, [])
    return [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)]


def read_json(path: Path, notes: list[str]) -> dict[str, Any]:
    """An object in a JSON file; empty while it is not there.

    Args:
        path: The file.
        notes: Gets a sentence about a file that is damaged.
    """
    return _read(path, notes, json.loads)


def read_yaml(path: Path, notes: list[str]) -> dict[str, Any]:
    """A mapping in a YAML file; see `read_json`."""
    return _read(path, notes, yaml.safe_load)


def _read(path: Path, notes: list[str], parse: Any) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, yaml.YAMLError) as error:
        notes.append(f"{path.name} cannot be read: {' '.join(str(error).split())}")
        return {}
    if not isinstance(found, dict):
        notes.append(f"{path.name} holds no mapping.")
        return {}
    return found


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def flat(value: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and plain value of all that a configuration holds.

    Args:
        value: A configuration, or a part of one.
        before: Its own key.
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{before}.{key}" if before else str(key))
    else:
        yield before, value
