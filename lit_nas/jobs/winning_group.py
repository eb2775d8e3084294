"""What the first search of StacNAS tells the second one: the best group of each edge.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering", https://arxiv.org/abs/1909.11926,
algorithm 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lit_nas.jobs.history import Found
from lit_nas.jobs.staged_search import SEARCHED, HandOver
from lit_nas.operations import COPIES, original
from lit_nas.spaces import EdgeCandidates, OperatorGroups, operator_groups

__all__ = ("WinningGroup", "check_skips")

NONE, SKIP = "none", "skip_connect"
COPIES_OF_SKIP = tuple(copy for copy, name in COPIES.items() if name == SKIP)


def check_skips(skips: int, key: str) -> None:
    """Refuses a number of skip connections that no edge can have.

    Args:
        skips: The number.
        key: What it is called.

    Raises:
        ValueError: naming the key.
    """
    if not 1 <= skips <= 1 + len(COPIES_OF_SKIP):
        raise ValueError(f"{key} must be between 1 and {1 + len(COPIES_OF_SKIP)}, not {skips}.")


@dataclass(frozen=True)
class WinningGroup(HandOver):
    """The first search is one among the key operators of groups, the next one among the members of the best group.

    Each edge has its own best group: that of the strongest operation but `none`, which stays a candidate in both
    searches and is the last one. Of equally strong operations the first one wins. Weights and architecture begin anew.

    Raises:
        FileNotFoundError: if there is no such set or file of groups.
        ValueError: if the groups make no sense, or `skips` is out of range.
    """

    keys = (SEARCHED,)

    groups: Mapping[str, Sequence[str]] | str = field(default="S1", hash=False)
    """Key operator -> members of its group, the key among them; or `S1` to `S5` for the groups of these spaces; or the
    path of a file of groups, as `lit-nas correlate` writes it."""
    skips: int = 2
    """Identical skip connections on an edge whose best group has no other member. Two of them make its softmax as large
    as that of a group of two, so that parameters of different edges compare (authors' code); 1 makes no copy."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", operator_groups(self.groups).groups)
        check_skips(self.skips, "job.hands_over.skips")

    @cached_property
    def _groups(self) -> OperatorGroups:
        return operator_groups(self.groups)

    def check(self, searches: int) -> None:
        """Wants two: among key operators, and among members.

        Raises:
            ValueError: if there are more or fewer.
        """
        if searches != 2:
            raise ValueError(
                "job.stages must hold two searches by groups, one among their key operators and one among the members "
                f"of the best ones, not {searches}."
            )

    def settings(self, number: int) -> Mapping[str, Any]:
        """The operations of each search."""
        groups = self._groups
        copies = COPIES_OF_SKIP[: self.skips - 1] if (SKIP,) in groups.groups.values() else ()
        return {"model.space.operations": [*(groups.operations + copies if number else groups.keys), NONE]}

    def changes(self, before: Found) -> Mapping[str, Any]:
        """The candidates of each edge.

        Raises:
            ValueError: if the search before has left no candidates, or one that belongs to no group.
        """
        if before.candidates is None:
            raise ValueError(f"The stage `{before.name}` has left no candidates.json, which says what has won.")
        cells = before.candidates.cells.items()
        return {SEARCHED: {name: [self._next(edge) for edge in edges] for name, edges in cells}}

    def _next(self, edge: EdgeCandidates) -> list[str]:
        groups = self._groups
        values = dict(zip(edge.operations, edge.probabilities, strict=True))
        kept = [NONE] if values.pop(NONE, None) is not None else []
        if not values:  # pruned as a whole
            return kept
        best = original(max(values, key=values.__getitem__))
        if best not in groups.operations:
            raise ValueError(
                f"The edge {edge.source} -> {edge.target} chose '{best}', which belongs to none of the groups of "
                f"job.hands_over.groups: {groups.plain()}."
            )
        members = groups.members(best)
        return [*members, *(COPIES_OF_SKIP[: self.skips - 1] if members == (SKIP,) else ()), *kept]
