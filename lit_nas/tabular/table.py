"""The accuracies of all cells of NAS-Bench-201, and where one cell stands among them."""

import csv
import io
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from lit_nas.atomic_write import write_text
from lit_nas.spaces.nas_bench_201_strings import all_architectures, parse_architecture

__all__ = ("COLUMNS", "DATASETS", "Standing", "Table")

DATASETS = ("cifar10", "cifar100", "imagenet16_120")
"""The data sets that the benchmark trained on."""
TEST, VALIDATION = "{}_test_200", "{}_valid_12"
COLUMNS = tuple(column.format(dataset) for column in (TEST, VALIDATION) for dataset in DATASETS)
"""Columns of a file beside `architecture`: test accuracies after 200 epochs, validation accuracies after 12."""


class Standing(NamedTuple):
    """Where a cell stands on one data set."""

    test_accuracy: float
    """Per cent, the mean over the benchmark's seeds."""
    rank: int
    """1 plus the number of cells that are better; 1 is the best of 15,625."""
    regret: float
    """How many percentage points the best cell has more."""


@dataclass(frozen=True)
class Table:
    """Accuracies in per cent by data set and architecture string.

    A search may look at `validation`; `test` is the truth that tells how good its result is.

    Raises:
        ValueError: if a data set or a cell is missing, or an accuracy is not a number from 0 to 100.
    """

    test: Mapping[str, Mapping[str, float]]
    """After 200 epochs, on the test part: data set -> architecture -> per cent."""
    validation: Mapping[str, Mapping[str, float]]
    """After 12 epochs, on the validation part: data set -> architecture -> per cent."""

    def __post_init__(self) -> None:
        for kind, part in ((TEST, self.test), (VALIDATION, self.validation)):
            for dataset in DATASETS:
                values = part.get(dataset, {})
                if missing := [cell for cell in self.architectures if cell not in values]:
                    raise ValueError(
                        f"{kind.format(dataset)} lacks {len(missing):,} of the {len(self.architectures):,} cells of "
                        f"NAS-Bench-201, '{missing[0]}' for one."
                    )
                for cell, value in values.items():
                    if not (isfinite(value) and 0 <= value <= 100):
                        raise ValueError(
                            f"{kind.format(dataset)} of '{cell}' is {value}, but must be a number from 0 to 100."
                        )

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """The strings of all cells, always in the same order."""
        return tuple(all_architectures())

    @cached_property
    def _ascending(self) -> dict[str, list[float]]:
        return {dataset: sorted(values.values()) for dataset, values in self.test.items()}

    def best(self, dataset: str) -> float:
        """The highest test accuracy of a data set."""
        return self._ascending[dataset][-1]

    def look_up(self, architecture: str) -> dict[str, Standing]:
        """Where a cell stands on each data set.

        Args:
            architecture: Its string.

        Raises:
            ValueError: if it is not the string of a cell.
        """
        parse_architecture(architecture)
        standings = {}
        for dataset in DATASETS:
            accuracy, ascending = self.test[dataset][architecture.strip()], self._ascending[dataset]
            rank = 1 + len(ascending) - bisect_right(ascending, accuracy)  # equals share the lowest
            standings[dataset] = Standing(accuracy, rank, ascending[-1] - accuracy)
        return standings

    def save(self, path: str | Path) -> None:
        """Writes the file that `read_csv` reads.

        Args:
            path: The file; its folder is made if needed.
        """
        columns = [part[dataset] for part in (self.test, self.validation) for dataset in DATASETS]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("architecture", *COLUMNS))
        writer.writerows((cell, *(repr(float(column[cell])) for column in columns)) for cell in self.architectures)
        write_text(Path(path), text.getvalue())
