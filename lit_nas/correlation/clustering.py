"""Groups of operations with correlated outputs: average linkage.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, section 3.4.1 and appendix A. The paper tells groups by looking at the matrix and the
code draws k-means of mean features; agglomerative clustering with the distance 1 - correlation is a decision of ours.
So is its threshold: 0.25 lies between the least correlation within a group of the paper (0.27, dilated convolutions)
and those between groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lit_nas.spaces import OperatorGroups

__all__ = ("Clustering",)

THRESHOLD = 0.25


@dataclass(frozen=True)
class Clustering:
    """Merges the two groups whose members are most correlated on average, until none are enough.

    Raises:
        ValueError: if both arguments are given, or one is out of range.
    """

    threshold: float | None = None
    """Average correlation below which groups stay apart; None is 0.25, or no threshold where `count` is given."""
    count: int | None = None
    """How many groups there are in the end; None leaves it to the threshold."""

    def __post_init__(self) -> None:
        if self.threshold is not None and self.count is not None:
            raise ValueError("clustering.threshold and clustering.count exclude each other: give one of them.")
        if self.threshold is not None and not -1 < self.threshold < 1:
            raise ValueError(f"clustering.threshold must lie between -1 and 1, not be {self.threshold}.")
        if self.count is not None and self.count < 1:
            raise ValueError(f"clustering.count must be at least 1, not {self.count}.")

    def check(self, operations: Sequence[str]) -> None:
        """Refuses operations that cannot make as many groups as there are to be.

        Args:
            operations: Those that are correlated.

        Raises:
            ValueError: if there are fewer than `count`.
        """
        if self.count is not None and self.count > len(operations):
            raise ValueError(
                f"clustering.count is {self.count}, but only {len(operations)} operations are correlated: "
                f"{', '.join(operations)}."
            )

    def groups(
        self, operations: Sequence[str], matrix: Sequence[Sequence[float]], alone: Sequence[str] = ()
    ) -> OperatorGroups:
        """Groups of operations, each behind the one with a 3x3 kernel, or else with the smallest kernel.

        Of several such members the first one is the key. An operation without a kernel (`skip_connect`) counts as one
        of size 1, so that pools of 3x3 go before it; the paper's key of its group of five in S2 is `skip_connect`.

        Args:
            operations: K names, in the order of the space.
            matrix: Their correlations, [K][K].
            alone: Operations that were not correlated; each is a group of its own.

        Raises:
            ValueError: if there are not as many operations as `count` groups.
        """
        self.check(operations)
        found = [tuple(operations[member] for member in sorted(cluster)) for cluster in self._clusters(matrix)]
        return OperatorGroups({_key(names): names for names in (*found, *((name,) for name in alone))})

    def _clusters(self, matrix: Sequence[Sequence[float]]) -> list[list[int]]:
        """Members of each group, in the order of their first ones."""
        least = THRESHOLD if self.threshold is None and self.count is None else self.threshold
        clusters = [[place] for place in range(len(matrix))]
        while len(clusters) > (self.count or 1):
            pairs = [(a, b) for a in range(len(clusters)) for b in range(a + 1, len(clusters))]
            # the first one of equal pairs, so that the groups are a function of the matrix
            a, b = max(pairs, key=lambda pair: _between(matrix, clusters[pair[0]], clusters[pair[1]]))
            if least is not None and _between(matrix, clusters[a], clusters[b]) < least:
                break
            clusters[a] += clusters.pop(b)
        return sorted(map(sorted, clusters))


def _between(matrix: Sequence[Sequence[float]], ours: Sequence[int], theirs: Sequence[int]) -> float:
    """The average correlation of the members of two groups."""
    return sum(matrix[a][b] for a in ours for b in theirs) / (len(ours) * len(theirs))


def _key(names: Sequence[str]) -> str:
    def rank(name: str) -> tuple[bool, int]:
        kernel = re.search(r"(\d+)x\1", name)
        size = int(kernel.group(1)) if kernel else 1
        return size != 3, size

    return min(names, key=rank)
