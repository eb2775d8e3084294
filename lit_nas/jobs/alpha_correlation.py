"""Whether the mixing weights of a search say how good a network is.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, appendix D.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.genotype import Edge, Genotype, load_genotype
from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import Group, Stage
from lit_nas.operations import original
from lit_nas.report.alpha_correlation import alpha_correlation_table, draw_alpha_correlation, pearson
from lit_nas.spaces import load_candidates

__all__ = ("AlphaCorrelation",)


@dataclass(frozen=True)
class AlphaCorrelation(Job):
    """Retrains a genotype with each candidate of one edge, and compares test accuracies with mixing weights.

    The candidates are those that a search has left in its `candidates.json`, but for `none`; copies of an operation
    count as one, with the sum of their weights. Of a search by groups there are two such files: the members of the
    best group share its weight of the first stage as they divide theirs in the second one, P(group) P(member | group).
    The paper does not say of which stage its weights are; one file alone is the other reading.

    The paper exchanges the operation of the first edge of the first cell; here it is exchanged in all cells of the
    type, because these share a genotype. Beside `results.json` lie `alpha_correlation.md` and `alpha_correlation.svg`,
    with Pearson's coefficient over the candidates.

    Raises:
        ValueError: if the edge is not a pair of states, there is no seed, one is negative or there twice, or there is
            neither one file of candidates nor two.
    """

    genotype: str
    """What the search has found: its `genotype.json`, or a published name."""
    candidates: str | Sequence[str]
    """`candidates.json` of a search, which has the mixing weights: of the same search, or of an earlier stage of it. Or
    those of both stages of a search by groups, the first one first."""
    cell: str = "normal"
    """Type of the cells."""
    edge: Sequence[int] = (0, 2)
    """Source and target of the edge, the first one by default. The genotype must have it."""
    seeds: Sequence[int] = (0,)
    """Each network is trained once with each of them."""

    def __post_init__(self) -> None:
        whole = isinstance(self.edge, (list, tuple)) and all(type(state) is int for state in self.edge)
        if not whole or len(self.edge) != 2:
            raise ValueError(f"job.edge must be a pair of states (source, target), such as [0, 2], not {self.edge!r}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"job.seeds must hold at least one seed, and none of them twice, not {list(self.seeds)}.")
        if any(seed < 0 for seed in self.seeds):
            raise ValueError(f"job.seeds must not be negative, but is {list(self.seeds)}.")
        if not isinstance(self.candidates, str):
            if len(self.candidates) != 2:
                raise ValueError(
                    "job.candidates must be a file, or the two files of the stages of a search by groups, not "
                    f"{list(self.candidates)}."
                )
            object.__setattr__(self, "candidates", tuple(self.candidates))
        for name in ("edge", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists come from YAML

    @property
    def sections(self) -> tuple[str, ...]:
        """What all networks have in common."""
        return ("retrain",)

    @cached_property
    def alphas(self) -> dict[str, float]:
        """Candidate of the edge -> its mixing weight.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it has no such edge, fewer than two candidates there, not the operation of the genotype, or
                two files are not those of two stages.
        """
        first, *more = (self.candidates,) if isinstance(self.candidates, str) else self.candidates
        last = more[-1] if more else first
        found = self._weights(first)
        for second in more:
            members, best = self._weights(second), max(found, key=found.__getitem__)
            if best not in members or set(members) & set(found) != {best}:
                raise ValueError(
                    f"job.candidates must be files of two stages of a search by groups, but of {self._place} the first "
                    f"one, '{first}', has chosen {best}, and the second one, '{second}', has {', '.join(members)}."
                )
            group, total = found[best], sum(members.values())
            shares = {name: group * value / total for name, value in members.items()}
            found = {name: value for name, value in found.items() if name != best} | shares
        if len(found) < 2:
            raise ValueError(
                f"{self._place} has the candidates {list(found)} in '{last}', but a correlation needs two at "
                "least: choose another job.edge or job.candidates."
            )
        if (chosen := self._operation(load_genotype(self.genotype))) not in found:
            raise ValueError(
                f"The genotype '{self.genotype}' has {chosen} on {self._place}, which is no candidate in "
                f"'{last}' ({', '.join(found)}): give job.candidates the files of both stages of a search "
                "by groups, or those of the search that has found the genotype."
            )
        return found

    @property
    def _place(self) -> str:
        return f"the edge {self.edge[0]} -> {self.edge[1]} of the cell '{self.cell}'"

    def _weights(self, path: str) -> dict[str, float]:
        """Those of a file, copies added up, without `none`."""
        for each in load_candidates(path).cells.get(self.cell, ()):
            if (each.source, each.target) == self.edge:
                found: dict[str, float] = {}
                for name, value in zip(each.operations, each.probabilities, strict=True):
                    if name != "none":
                        found[original(name)] = found.get(original(name), 0.0) + value
                if not found:
                    raise ValueError(f"'{path}' has no candidate but `none` on {self._place}: choose another job.edge.")
                return found
        raise ValueError(f"'{path}' does not have {self._place}: choose another job.edge or job.cell.")

    @property
    def outlines_all(self) -> bool:
        """They are proposed at once."""
        return True

    def propose(self, history: History) -> Group | None:
        """All networks at once: none waits for another."""
        if len(history):
            return None
        genotype = load_genotype(self.genotype)
        return Group(
            tuple(
                Stage(
                    _name(operation, seed), "retrain", "retrain",
                    {"model.genotype": self._with(genotype, operation).to_dict(), "seed_everything": seed},
                )
                for operation in self.alphas
                for seed in self.seeds
            )
        )  # fmt: skip

    def results(self, history: History) -> dict[str, Any]:
        """By candidate mixing weight and test accuracy of each seed, and the coefficient."""
        chosen = self._operation(load_genotype(self.genotype))
        rows: list[dict[str, Any]] = [
            {
                "operation": operation,
                "alpha": alpha,
                "test_accuracy": [history[_name(operation, seed)].scores["test/accuracy"] for seed in self.seeds],
                "chosen": operation == chosen,
            }
            for operation, alpha in self.alphas.items()
        ]
        return {
            "cell": self.cell,
            "edge": list(self.edge),
            "seeds": list(self.seeds),
            "candidates": rows,
            "coefficient": pearson([row["alpha"] for row in rows], [fmean(row["test_accuracy"]) for row in rows]),
            **super().results(history),
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Mixing weight and accuracy of each candidate, and the coefficient."""
        lines = {
            row["operation"]: f"alpha {row['alpha']:.4f}, test accuracy {fmean(row['test_accuracy']):.4f}"
            for row in results["candidates"]
        }
        value = results["coefficient"]
        return {**lines, "correlation": "undefined" if value is None else f"{value:.2f}"}

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """`alpha_correlation.md` and `alpha_correlation.svg`."""
        write_text(folder / "alpha_correlation.md", alpha_correlation_table(results))
        draw_alpha_correlation(results, folder / "alpha_correlation.svg")

    def _operation(self, genotype: Genotype) -> str:
        """What the genotype has on the edge."""
        cell = genotype.cells.get(self.cell)
        for operation, *ends in () if cell is None else cell.edges:
            if tuple(ends) == self.edge:
                return operation
        raise ValueError(
            f"The genotype '{self.genotype}' has no edge {self.edge[0]} -> {self.edge[1]} in a cell '{self.cell}': "
            "choose another job.edge or job.cell."
        )

    def _with(self, genotype: Genotype, operation: str) -> Genotype:
        """The genotype with another operation on the edge."""
        self._operation(genotype)
        cell = genotype.cells[self.cell]
        edges = (Edge(operation, *each[1:]) if each[1:] == self.edge else each for each in cell.edges)
        return replace(genotype, cells={**genotype.cells, self.cell: replace(cell, edges=tuple(edges))}, name="")


def _name(operation: str, seed: int) -> str:
    return f"{operation}_seed_{seed}"
