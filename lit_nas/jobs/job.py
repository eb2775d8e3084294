"""The outer loop of a method: which fit comes next, given what the earlier ones have found."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lit_nas.jobs.history import History
from lit_nas.jobs.stage import Group, Stage
from lit_nas.spaces import Candidates

__all__ = ("Job",)


class Job(ABC):
    """Proposes stages until it is finished; final subclasses are frozen dataclasses.

    A job holds no state: what it proposes follows from its own arguments and from the history alone, so that a job
    that was killed goes on where it stopped.
    """

    free: ClassVar[tuple[str, ...]] = ()
    """Arguments that may change while a folder holds the job: those that add or leave out stages, each of which has a
    name of its own, or only tell what is made of the results."""

    @property
    def outlines_all(self) -> bool:
        """Whether `outline` tells all stages; otherwise the remaining time of the job is that of those it knows."""
        return False

    @property
    def sections(self) -> tuple[str, ...]:
        """Sections of the configuration that stages start from."""
        return "search", "retrain"

    @abstractmethod
    def propose(self, history: History) -> Stage | Group | None:
        """What comes next; None when the job is finished.

        Must be pure: the same history gives the same answer.

        Args:
            history: All finished stages.
        """

    def check_candidates(self, candidates: Candidates) -> None:  # noqa: B027  # most jobs take any
        """Refuses arguments that do not fit what is searched; called for each search that is to run, before any does.

        Args:
            candidates: What a search begins with.

        Raises:
            ValueError: naming the key.
        """

    def chain_of(self, name: str) -> str:
        """Which of several chains a stage belongs to; what one of them finds changes nothing in another one.

        Args:
            name: Of the stage.
        """
        return ""

    def outline(self) -> tuple[Stage, ...]:
        """Stages that can be told before anything has run; they are checked and rehearsed before the first step."""
        first = self.propose(History())
        return first.stages if isinstance(first, Group) else () if first is None else (first,)

    def results(self, history: History) -> dict[str, Any]:
        """What `results.json` holds when the job is finished.

        Args:
            history: All stages.
        """
        return {
            "stages": {
                found.name: {
                    "scores": dict(found.scores),
                    "cost": dict(found.cost),
                    **({} if found.genotype is None else {"genotype": found.genotype.to_dict()}),
                }
                for found in history
            }
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """What the box at the end says, by name.

        Args:
            results: What `results.json` holds.
        """
        lines = {}
        for name, found in results["stages"].items():
            scores = [f"{score} {value:.4f}" for score, value in sorted(found["scores"].items())]
            lines[name] = ", ".join([*scores, f"{found['cost'].get('seconds', 0):.0f} s"])
        return lines

    def write_so_far(self, history: History, folder: Path) -> None:  # noqa: B027  # most jobs have nothing to add
        """Writes what can be told while the job goes on, each time that stages have been finished.

        Args:
            history: All stages that are finished.
            folder: Of the job.
        """

    def write(self, results: Mapping[str, Any], folder: Path) -> None:  # noqa: B027  # most jobs have nothing to add
        """Writes what belongs beside `results.json`.

        Args:
            results: What `results.json` holds.
            folder: Of the job.
        """
