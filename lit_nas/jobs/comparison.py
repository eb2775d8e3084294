"""Several methods under one protocol, judged by a tabular benchmark and compared with a search that trains nothing."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.jobs.history import Found, History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import Group, Stage, with_callback
from lit_nas.jobs.staged_search import StagedSearch
from lit_nas.report.comparison import comparison_table, draw_comparison, mean_and_deviation
from lit_nas.tabular import DATASETS, Table, read_table, run_baseline

__all__ = ("Comparison",)


@dataclass(frozen=True)
class Comparison(Job):
    """Searches by several methods in the space of NAS-Bench-201, alike in all that the section `search` says.

    A method has configurations of its own beneath that section: its recipe. The section holds what is the same for all:
    space, images, epochs. A method may search in several stages, each of which changes the section; their epochs count
    one after another. The table tells the true accuracy of the cell of each epoch. Beside the methods stands random
    search, which after n epochs has looked at the validation accuracies of n cells. Beside `results.json` lie
    `comparison.md` and `comparison.svg`.

    Raises:
        ValueError: if there is no method or no seed, a seed appears twice, or a value is out of range.
    """

    free = ("methods", "staged", "table", "seeds", "dataset", "baseline_seeds")

    methods: Mapping[str, Sequence[str]]
    """Name -> its configuration files, or the text of one; later ones win. The name is part of the names of folders."""
    table: str
    """Accuracies of all cells: a CSV file, or the official file or folder of NATS-Bench."""
    staged: Mapping[str, StagedSearch] = field(default_factory=dict)
    """Name of a method that searches in several stages -> its stages, whose `trainer.max_epochs` should add up to the
    epochs of the others. Nothing is retrained."""
    seeds: Sequence[int] = (0, 1)
    """Each method searches once with each of them."""
    dataset: str = "cifar10"
    """The data set of the searches, as the table calls it: random search looks at its validation accuracies."""
    baseline_seeds: int = 100
    """Runs of random search; they cost next to nothing."""

    def __post_init__(self) -> None:
        if not self.methods or not self.seeds:
            raise ValueError("job.methods and job.seeds of a Comparison must hold at least one each.")
        for name, layers in self.methods.items():
            if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
                raise ValueError(
                    f"job.methods.{name} is {layers!r}, but must be a list of configuration files, or of texts of such."
                )
        for name, stages in self.staged.items():
            if name not in self.methods or not isinstance(stages, StagedSearch):
                raise ValueError(
                    f"job.staged.{name} is {stages!r}, but job.staged must give a StagedSearch (by its class_path) for "
                    f"names of job.methods: {', '.join(self.methods)}."
                )
        if any(seed < 0 for seed in self.seeds):
            raise ValueError(f"job.seeds must not be negative, but is {list(self.seeds)}.")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"job.seeds names a seed twice: {list(self.seeds)}.")
        if self.dataset not in DATASETS:
            raise ValueError(f"job.dataset is '{self.dataset}'. The table knows {', '.join(DATASETS)}.")
        if self.baseline_seeds < 1:
            raise ValueError(f"job.baseline_seeds must be at least 1, not {self.baseline_seeds}.")

    @property
    def sections(self) -> tuple[str, ...]:
        """What all searches have in common."""
        return ("search",)

    @cached_property
    def _table(self) -> Table:
        return read_table(Path(self.table))

    @property
    def outlines_all(self) -> bool:
        """They follow from methods and seeds."""
        return True

    def propose(self, history: History) -> Group | None:
        """The next search of each method and seed: none waits for that of another one."""
        chains = [self._chain(method, seed, history) for method in self.methods for seed in self.seeds]
        waiting = [[stage for stage in chain if stage.name not in history] for chain in chains]
        stages = [chain[0] for chain in waiting if chain]
        return Group(tuple(stages)) if stages else None

    def outline(self) -> tuple[Stage, ...]:
        """All searches.

        Raises:
            FileNotFoundError: if there is no such table.
            ValueError: if it is not whole.
        """
        _ = self._table  # rather now than after hours of training
        chains = [self._chain(method, seed, History()) for method in self.methods for seed in self.seeds]
        return tuple(stage for chain in chains for stage in chain)

    def results(self, history: History) -> dict[str, Any]:
        """By method: cost, and the test accuracy of the cell of each epoch, by data set and seed."""
        methods: dict[str, Any] = {}
        for method, layers in self.methods.items():
            found = [[history[stage.name] for stage in self._chain(method, seed, history)] for seed in self.seeds]
            methods[method] = {
                "layers": list(layers),
                "seconds": [sum(stage.cost["seconds"] for stage in chain) for chain in found],
                "peak_memory_gib": [_most([stage.cost["peak_memory_gib"] for stage in chain]) for chain in found],
                "test_accuracy": self._accuracies(found),
            }
        epochs = max(len(seed) for each in methods.values() for seed in each["test_accuracy"][self.dataset])
        return {
            "dataset": self.dataset,
            "seeds": list(self.seeds),
            "methods": methods,
            "random_search": {"runs": self.baseline_seeds, "test_accuracy": self._random_search(epochs)},
            "best": {dataset: self._table.best(dataset) for dataset in DATASETS},
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Test accuracy of the last cell, and time, by method."""
        lines = {}
        for name, found in results["methods"].items():
            last = [seed[-1] for seed in found["test_accuracy"][results["dataset"]]]
            lines[name] = f"{mean_and_deviation(last)} %, {max(found['seconds']):.0f} s"
        return lines

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """`comparison.md` and `comparison.svg`."""
        write_text(folder / "comparison.md", comparison_table(results))
        draw_comparison(results, folder / "comparison.svg")

    def _chain(self, method: str, seed: int, history: History) -> tuple[Stage, ...]:
        """The searches of a method with a seed, which wait for each other."""
        name = f"{method}_seed_{seed}"
        if method in self.staged:
            stages = self.staged[method].searches(history, f"{name}_stage_")
        else:
            stages = (Stage(name, "search", "search"),)
        return tuple(
            replace(
                stage,
                changes=with_callback({"seed_everything": seed, **stage.changes}, "QueryTable", path=self.table),
                beneath=tuple(self.methods[method]),
            )
            for stage in stages
        )

    def _accuracies(self, found: Sequence[Sequence[Found]]) -> dict[str, list[list[float | None]]]:
        """Data set -> seed -> epoch, those of all stages -> per cent, or None where a cell had lost every operation."""
        accuracies: dict[str, list[list[float | None]]] = {dataset: [] for dataset in DATASETS}
        for chain in found:
            for seeds in accuracies.values():
                seeds.append([])
            for stage in chain:
                with (stage.folder / "table.csv").open(encoding="utf-8", newline="") as file:
                    rows = list(csv.DictReader(file))
                for dataset, seeds in accuracies.items():
                    own = {int(row["epoch"]): float(row["test_accuracy"]) for row in rows if row["dataset"] == dataset}
                    seeds[-1] += [own.get(epoch) for epoch in range(max(own) + 1)]
        return accuracies

    def _random_search(self, epochs: int) -> dict[str, list[dict[str, float | None]]]:
        """Data set -> number of cells looked at, from 1 -> mean and deviation."""
        runs = [
            run_baseline(self._table, "random_search", self.dataset, budget, self.baseline_seeds)
            for budget in range(1, epochs + 1)
        ]
        return {dataset: [run[dataset]["test_accuracy"] for run in runs] for dataset in DATASETS}


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
