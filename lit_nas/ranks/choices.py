"""The marginal distributions of what a search has chosen among, averaged over its repetitions.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.3 and 3.1: the probabilities of a row, without noise and
temperature and averaged over repetitions, are taken for independent marginals of a joint distribution over networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf, isclose, log, prod
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.spaces import Candidates, load_candidates

__all__ = ("Choice", "Choices", "load_choices")

Choice = tuple[int, ...]
"""For each row the number of a candidate, from 0."""


@dataclass(frozen=True)
class Choices:
    """Rows that choose one candidate each, with the probability of every candidate.

    Raises:
        ValueError: if there is no row, one has no candidate, or its probabilities do not sum to 1.
    """

    space: str
    """Name of the search space."""
    cells: tuple[str, ...]
    """Names of the rows: types of cells with one edge each."""
    names: tuple[tuple[str, ...], ...]
    """The candidates of each row."""
    probabilities: tuple[tuple[float, ...], ...]
    """Theirs."""

    def __post_init__(self) -> None:
        if not self.cells or not all(self.names):
            raise ValueError("Networks are ranked by rows of candidates, but there is none, or one is empty.")
        for cell, names, row in zip(self.cells, self.names, self.probabilities, strict=True):
            if (
                len(names) != len(row)
                or not all(0 <= value <= 1 for value in row)
                or not isclose(fsum(row), 1.0, abs_tol=1e-6)
            ):
                raise ValueError(f"The row '{cell}' has the probabilities {list(row)}, which do not sum to 1.")

    @classmethod
    def of(cls, repetitions: Sequence[Candidates]) -> "Choices":
        """The mean over repetitions of a search.

        Args:
            repetitions: What each has left, at least one.

        Raises:
            ValueError: if a cell has more than one edge, or they are not all of the same candidates.
        """
        first = repetitions[0]
        for name, edges in first.cells.items():
            if len(edges) != 1:
                raise ValueError(
                    f"Ranks are products of one probability for each cell, but '{name}' of the space '{first.space}' "
                    f"has {len(edges)} edges: rank searches of a space such as DagSpace."
                )
        names = {cell: edges[0].operations for cell, edges in first.cells.items()}
        rows: dict[str, list[list[float]]] = {cell: [] for cell in names}
        for each in repetitions:
            found = {cell: edges[0] for cell, edges in each.cells.items()}
            if each.space != first.space or {cell: set(row.operations) for cell, row in found.items()} != {
                cell: set(row) for cell, row in names.items()
            }:
                raise ValueError(
                    "Ranks are relative to the candidates of one search, but the searches have different ones: average "
                    "repetitions of the same search only."
                )
            for cell, row in found.items():
                known = dict(zip(row.operations, row.probabilities, strict=True))
                rows[cell].append([known[name] for name in names[cell]])
        means = tuple(tuple(map(fmean, zip(*rows[cell], strict=True))) for cell in names)
        return cls(first.space, tuple(names), tuple(names.values()), means)

    @property
    def networks(self) -> int:
        """How many networks there are."""
        return prod(map(len, self.names))

    def log_rank(self, choice: Choice) -> float:
        """The logarithm of the product of the probabilities, which is what ranks a network (`psi` in the paper).

        Args:
            choice: The network.
        """
        values = [row[number] for row, number in zip(self.probabilities, choice, strict=True)]
        return fsum(map(log, values)) if all(values) else -inf

    def candidates_of(self, choice: Choice) -> tuple[str, ...]:
        """The candidate of each row.

        Args:
            choice: The network.
        """
        return tuple(names[number] for names, number in zip(self.names, choice, strict=True))

    def choice_of(self, candidates: Sequence[str]) -> Choice:
        """The numbers of candidates.

        Args:
            candidates: One for each row.

        Raises:
            ValueError: if there are more or fewer, or a row does not have one.
        """
        if len(candidates) != len(self.cells):
            raise ValueError(
                f"A network needs one candidate for each of the rows {', '.join(self.cells)}, but {list(candidates)} "
                f"are {len(candidates)}."
            )
        for cell, names, name in zip(self.cells, self.names, candidates, strict=True):
            if name not in names:
                raise ValueError(f"The row '{cell}' has no candidate '{name}'. It has: {', '.join(names)}.")
        return tuple(names.index(name) for names, name in zip(self.names, candidates, strict=True))

    def genotype(self, choice: Choice, **meta: Any) -> Genotype:
        """The network as a retraining takes it.

        Args:
            choice: The network.
            meta: What it says about where it comes from.
        """
        cells = {
            cell: CellGenotype((Edge(name, 0, 1),), (1,), 1)
            for cell, name in zip(self.cells, self.candidates_of(choice), strict=True)
        }
        return Genotype(cells, self.space, meta=meta)


def load_choices(paths: Sequence[str | Path]) -> Choices:
    """The mean over searches that have ended.

    Args:
        paths: Their folders, or their files `candidates.json`; at least one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if one is damaged, or they do not fit each other.
    """
    files = [path / "candidates.json" if (path := Path(each)).is_dir() else path for each in paths]
    return Choices.of([load_candidates(file) for file in files])
