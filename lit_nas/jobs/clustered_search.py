"""A job that finds groups of operations itself: a supernet of all of them, their correlations, a search by groups.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, sections 3.4.1 and 4, appendix A: the supernet has 14 cells and trains for 80 epochs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lit_nas.correlation import Clustering, OperatorCorrelation
from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import GROUPS, Stage, with_callback
from lit_nas.jobs.staged_search import StagedSearch
from lit_nas.jobs.winning_group import NONE, WinningGroup, check_skips
from lit_nas.operations import check_operations, original
from lit_nas.record.plain import plain
from lit_nas.spaces import OperatorGroups, load_operator_groups, named_operations

__all__ = ("ClusteredSearch",)

SUPERNET, OPERATIONS = "supernet", "model.space.operations"


@dataclass(frozen=True)
class ClusteredSearch(Job):
    """Trains a supernet of all operations, groups them, searches by `WinningGroup` with these groups, and retrains.

    All searches start from the section `search`. The first one is called `supernet` and leaves `groups.json`, by the
    callback `CorrelateOperators`, which the job adds to it. Beforehand the others are tried with all operations, each a
    group of its own: they can search among no others, whatever the groups will be.

    Raises:
        ValueError: if there are not two stages, one of them sets the operations, the supernet does not, or a number is
            out of range.
    """

    stages: tuple[Mapping[str, Any], ...]
    """Changes of each search by groups, as in `StagedSearch`."""
    supernet: Mapping[str, Any] = field(hash=False)
    """Changes of the search whose operations are grouped: dotted key -> value, as `{"model.space.num_cells": 14}`. Its
    operations are among them: `{"model.space.operations": "S1"}`, or a list."""
    skips: int = 2
    """Identical skip connections, see `WinningGroup`."""
    images: int = 10_000
    """Training images that the supernet is looked at with."""
    correlation: OperatorCorrelation = OperatorCorrelation()
    """What is correlated."""
    clustering: Clustering = Clustering()
    """How groups follow."""

    def __post_init__(self) -> None:
        check_skips(self.skips, "job.skips")
        staged = StagedSearch(self.stages, WinningGroup(skips=self.skips))
        object.__setattr__(self, "stages", staged.stages)
        if self.images < 2:
            raise ValueError(f"job.images must be at least 2, not {self.images}.")
        if not isinstance(self.supernet, Mapping) or not all(isinstance(key, str) for key in self.supernet):
            raise ValueError(
                "job.supernet must be a mapping of dotted keys of the section `search`, such as "
                f"{{model.space.operations: S1}}, not {self.supernet!r}."
            )
        _ = self._each_alone()

    @property
    def outlines_all(self) -> bool:
        """Only what they are told is not known beforehand."""
        return True

    def propose(self, history: History) -> Stage | None:
        """The supernet, then the stages of the search by its groups."""
        return self._supernet() if SUPERNET not in history else self._search(history).propose(history)

    def outline(self) -> tuple[Stage, ...]:
        """All stages, but for the groups and what follows from them."""
        return self._supernet(), *StagedSearch(self.stages, self._each_alone()).outline()

    def _each_alone(self) -> WinningGroup:
        """Groups of one operation, which need whatever any groups of these operations could need."""
        given = self.supernet.get(OPERATIONS)
        if not isinstance(given, (str, list, tuple)) or not given:
            raise ValueError(
                f"job.supernet must set {OPERATIONS}, the operations that are grouped: a list, or the name of a set "
                "such as S1."
            )
        names = named_operations(given) if isinstance(given, str) else tuple(given)
        check_operations(names, f"job.supernet.{OPERATIONS}")
        return WinningGroup({name: [name] for name in names if name != NONE and original(name) == name}, self.skips)

    def _supernet(self) -> Stage:
        how = {"images": self.images, "correlation": plain(self.correlation), "clustering": plain(self.clustering)}
        return Stage(SUPERNET, "search", "search", with_callback(self.supernet, "CorrelateOperators", **how))

    def _search(self, history: History) -> StagedSearch:
        return StagedSearch(self.stages, WinningGroup(_groups(history).groups, self.skips))

    def results(self, history: History) -> dict[str, Any]:
        """The groups, and what `StagedSearch` says; the cost of the search includes that of the supernet."""
        return {"groups": _groups(history).plain(), **self._search(history).results(history)}

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """The groups, and what `StagedSearch` says."""
        groups = "; ".join(", ".join(members) for members in results["groups"].values())
        return {"groups": groups, **StagedSearch(self.stages).summary(results)}


def _groups(history: History) -> OperatorGroups:
    path = history[SUPERNET].folder / GROUPS
    if not path.is_file():
        raise ValueError(f"The stage `{SUPERNET}` has left no {GROUPS}: do it again with --redo {SUPERNET}.")
    return load_operator_groups(path)
