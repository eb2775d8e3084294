"""A job of several searches, each of which goes on with what the one before it has left, and one retraining."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lit_nas.jobs.history import Found, History, test_lines, test_scores
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import CANDIDATES, FileOf, Stage

__all__ = ("HandOver", "LeftCandidates", "StagedSearch")

SEARCHED = "model.space.candidates"


class HandOver(ABC):
    """What one search tells the next one; final subclasses are frozen dataclasses.

    A key that it gives a value is its own: stages do not set it.
    """

    keys: ClassVar[tuple[str, ...]] = ()
    """Keys of all searches but the first that `changes` gives values, without `init_args`."""

    def check(self, searches: int) -> None:  # noqa: B027  # most rules serve any number
        """Refuses a number of searches that it is not made for.

        Args:
            searches: How many there are.

        Raises:
            ValueError: naming `job.stages`.
        """

    def owned(self, number: int) -> frozenset[str]:
        """All keys of a search that it gives values.

        Args:
            number: Of the search, from 0.
        """
        later = (*self.takes("before"), *self.keys) if number else ()
        return frozenset({*self.settings(number), *later})

    def settings(self, number: int) -> Mapping[str, Any]:
        """Keys of a search whose values are known beforehand.

        Args:
            number: Of the search, from 0.
        """
        return {}

    def takes(self, before: str) -> Mapping[str, FileOf]:
        """Keys of the next search that get files of the one before it; known beforehand.

        Args:
            before: Name of the search before.
        """
        return {}

    @abstractmethod
    def changes(self, before: Found) -> Mapping[str, Any]:
        """Keys of the next search whose values follow from what the one before it has found.

        Args:
            before: What it has left.
        """


@dataclass(frozen=True)
class LeftCandidates(HandOver):
    """The next search has the candidates that the one before it has left on each edge, in its `candidates.json`.

    What a search leaves is its own affair: `PDARTS` prunes all but `keep` candidates of each edge at its end, any other
    search does with the callback `KeepStrongest`, and sparse search while it runs. Weights and architecture begin anew.
    """

    def takes(self, before: str) -> Mapping[str, FileOf]:
        """The file."""
        return {SEARCHED: FileOf(before, CANDIDATES)}

    def changes(self, before: Found) -> Mapping[str, Any]:
        """Nothing more."""
        return {}


@dataclass(frozen=True)
class StagedSearch(Job):
    """Searches stage by stage, from the section `search` with changes for each stage; retrains what the last one found.

    Stages are called `stage1`, `stage2` and so on, and then `retrain`. P-DARTS has three of them, which grow in depth
    while edges lose candidates; stages of another method differ in their numbers and in what is handed over.

    Raises:
        ValueError: if there is no stage, one is no mapping of keys or sets a key of `hands_over`, or that is no rule or
            is made for another number of stages.
    """

    stages: tuple[Mapping[str, Any], ...]
    """For each search its changes: dotted key -> value, as `{"model.space.num_cells": 11}`."""
    hands_over: HandOver = LeftCandidates()
    """What a search tells the next one."""

    def __post_init__(self) -> None:
        if not isinstance(self.stages, (list, tuple)) or not self.stages:
            raise ValueError(f"job.stages must be a list of one mapping of keys for each search, not {self.stages!r}.")
        object.__setattr__(self, "stages", tuple(self.stages))  # lists come from YAML
        for stage in self.stages:
            if not isinstance(stage, Mapping) or not all(isinstance(key, str) for key in stage):
                raise ValueError(
                    "job.stages must hold mappings of dotted keys of the section `search`, such as "
                    f"{{model.space.num_cells: 11}}, not {stage!r}."
                )
        if not isinstance(self.hands_over, HandOver):
            raise ValueError(f"job.hands_over must be a HandOver, such as LeftCandidates(), not {self.hands_over!r}.")
        self.hands_over.check(len(self.stages))
        for number, stage in enumerate(self.stages):
            if taken := sorted(self.hands_over.owned(number) & {*_keys(stage)}):
                raise ValueError(
                    f"job.stages sets {taken[0]} of stage{number + 1}, which follows from job.hands_over: leave it out."
                )

    @property
    def outlines_all(self) -> bool:
        """They follow from `stages`."""
        return True

    def propose(self, history: History) -> Stage | None:
        """The first stage that is not finished."""
        return next((stage for stage in self._stages(history) if stage.name not in history), None)

    def outline(self) -> tuple[Stage, ...]:
        """All stages, but for what follows from what others find."""
        return self._stages(History())

    def searches(self, history: History, prefix: str = "stage") -> tuple[Stage, ...]:
        """The searches, as far as they can be told.

        Args:
            history: What follows from a search that is not in it is left out.
            prefix: Of their names, which end in a number from 1.
        """
        found, before = list[Stage](), ""
        for number, own in enumerate(self.stages, 1):
            # in this order, so that a stage may choose the class whose arguments are set
            changes, takes = {**own, **self.hands_over.settings(number - 1)}, dict[str, FileOf]()
            if before:
                takes |= self.hands_over.takes(before)
                changes |= self.hands_over.changes(history[before]) if before in history else {}
            before = f"{prefix}{number}"
            found.append(Stage(before, "search", "search", changes, takes))
        return tuple(found)

    def _stages(self, history: History) -> tuple[Stage, ...]:
        searches = self.searches(history)
        last = searches[-1].name
        takes = {"model.genotype": FileOf(last)}
        return *searches, Stage("retrain", "retrain", "retrain", takes=takes, divides_as=last)

    def results(self, history: History) -> dict[str, Any]:
        """Genotype of the last search, scores, the cost of all searches together, and all of each stage."""
        searches, retrain = history.stages[:-1], history["retrain"]
        genotype = searches[-1].genotype
        assert genotype is not None  # a search without one is not finished
        return {
            "genotype": genotype.to_dict(),
            **test_scores(retrain),
            "search_seconds": sum(search.cost["seconds"] for search in searches),
            "retrain_seconds": retrain.cost["seconds"],
            **super().results(history),
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Accuracy, the time of each stage, and where the cell is."""
        seconds = {name: f"{found['cost'].get('seconds', 0):.0f} s" for name, found in results["stages"].items()}
        cell = f"stage{len(self.stages)}/genotype.json and its picture"
        return {**test_lines(results), **seconds, "cell": cell}


def _keys(settings: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """All dotted keys that are set, within values as well, without `init_args` and the `+` that appends to a list."""
    for key, value in settings.items():
        parts = [part for part in key.removesuffix("+").split(".") if part != "init_args"]
        whole = ".".join(filter(None, [before, *parts]))
        yield whole
        if isinstance(value, Mapping):
            yield from _keys(value, whole)
