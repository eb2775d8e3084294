"""Whether FaDE-ranks say how good networks are.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, section 3.1 and figure 2: five DAGs in each of four rows, several
repetitions, 16 of 625 networks picked by hand. How many repetitions, how long the trainings and which networks is not
printed; without a list, networks are drawn out of equal parts of the ranks, so that all qualities are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import FileOf, Group, Stage
from lit_nas.ranks import (
    Choices,
    Ranked,
    average_ranks,
    best_networks,
    rank_table,
    spearman,
    spread_networks,
    write_ranks,
)
from lit_nas.report.ranks import describe_spearman, draw_rank_validation, rank_validation_report
from lit_nas.spaces import Candidates

__all__ = ("RankValidation",)

MOST_LISTED = 10_000
"""Networks in `ranks.csv`; the best ones of a larger product."""


@dataclass(frozen=True)
class RankValidation(Job):
    """Searches several times, ranks all networks by the averaged probabilities, and trains some of them from scratch.

    The searches (section `search`) do not wait for each other, and neither do the retrainings (section `retrain`),
    which divide the data as the first search does. Beside `results.json` lie `report.md`, `ranks.csv` and `ranks.svg`,
    with Spearman's coefficient between ranks and test accuracies.

    Raises:
        ValueError: if there is no repetition or no seed, one is negative or appears twice, or there are fewer than two
            networks.
    """

    free = ("networks", "seeds")

    repeats: Sequence[int] = (0, 1, 2)
    """The hyper-architecture is searched once with each of these seeds."""
    networks: Sequence[Sequence[str]] = ()
    """Which networks are trained from scratch, each a list of one candidate for each row; none given draws `count`."""
    count: int = 16
    """How many are drawn, one out of each of as many equal parts of the ranks."""
    spread_seed: int = 0
    """Of what is drawn."""
    seeds: Sequence[int] = (0,)
    """Each network is trained once with each of them."""

    def __post_init__(self) -> None:
        for name in ("repeats", "seeds"):
            given = tuple(getattr(self, name))  # lists come from YAML
            if not given or len(set(given)) < len(given):
                raise ValueError(f"job.{name} must hold at least one seed, and none of them twice, not {list(given)}.")
            if any(type(seed) is not int or seed < 0 for seed in given):
                raise ValueError(f"job.{name} must hold whole numbers that are not negative, not {list(given)}.")
            object.__setattr__(self, name, given)
        if any(isinstance(each, str) for each in self.networks):
            raise ValueError(
                "job.networks must be a list of networks, each a list of one candidate for each row, not "
                f"{self.networks!r}."
            )
        object.__setattr__(self, "networks", tuple(map(tuple, self.networks)))
        if len(set(self.networks)) < len(self.networks):
            raise ValueError("job.networks names a network twice.")
        if self._count < 2:
            raise ValueError(
                f"A rank correlation needs at least 2 networks (job.networks, job.count), not {self._count}."
            )

    @property
    def _count(self) -> int:
        return len(self.networks) or self.count

    def check_candidates(self, candidates: Candidates) -> None:
        """Refuses networks that the rows do not have.

        Raises:
            ValueError: if `networks` has others, there are fewer than `count`, or a cell is no row.
        """
        self._chosen(Choices.of([candidates]))

    def propose(self, history: History) -> Group | None:
        """All searches, then all retrainings."""
        if not len(history):
            return Group(self._searches())
        if len(history) > len(self.repeats):
            return None
        first = history[_search(self.repeats[0])]
        assert first.genotype is not None  # a search without one is not finished
        # so that a retraining is refused whose test part the searches have trained on
        held_out = {key: value for key, value in first.genotype.meta.items() if key == "held_out"}
        choices = self._choices(history)
        return Group(
            tuple(
                Stage(
                    name, "retrain", "retrain",
                    {"model.genotype": choices.genotype(each.choice, **held_out).to_dict(), "seed_everything": seed},
                    divides_as=first.name,
                )
                for number, each in enumerate(self._chosen(choices), 1)
                for name, seed in self._trainings(number)
            )
        )  # fmt: skip

    def outline(self) -> tuple[Stage, ...]:
        """The searches and the first retraining, with what the first search finds, because nothing is ranked yet."""
        searches, (name, seed) = self._searches(), self._trainings(1)[0]
        first = searches[0].name
        taken = {"model.genotype": FileOf(first)}
        changes = {"seed_everything": seed}
        return *searches, Stage(name, "retrain", "retrain", changes, takes=taken, divides_as=first)

    def results(self, history: History) -> dict[str, Any]:
        """The rows with their probabilities, the networks with rank and accuracy, and the coefficient."""
        choices, found = self._choices(history), self._found(history)
        chosen = self._chosen(choices)
        accuracies = [
            [history[name].scores["test/accuracy"] for name, _ in self._trainings(number)]
            for number in range(1, len(chosen) + 1)
        ]
        ranks, means = [each.log_rank for each in chosen], [fmean(each) for each in accuracies]
        places = [average_ranks([-value for value in values]).tolist() for values in (ranks, means)]
        networks = [
            {
                "name": _network(number),
                "candidates": list(choices.candidates_of(each.choice)),
                "rank": each.rank,
                "log_rank": each.log_rank,
                "test_accuracy": accuracy,
                "predicted_place": predicted,
                "found_place": by_accuracy,
            }
            for number, (each, accuracy, predicted, by_accuracy) in enumerate(
                zip(chosen, accuracies, *places, strict=True), 1
            )
        ]
        rows = {
            cell: {
                "candidates": list(names),
                "probabilities": list(mean),
                "by_repeat": [_in_order(each, cell, names) for each in found],
            }
            for cell, names, mean in zip(choices.cells, choices.names, choices.probabilities, strict=True)
        }
        return {
            "space": choices.space,
            "repeats": list(self.repeats),
            "size": choices.networks,
            "rows": rows,
            "networks": networks,
            "spearman": asdict(spearman(ranks, means)),
            **super().results(history),
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Rank and accuracy of each network, and the coefficient."""
        lines = {
            each["name"]: f"product {each['rank']:.3g}, test accuracy {fmean(each['test_accuracy']):.4f}"
            for each in results["networks"]
        }
        return {**lines, "Spearman": describe_spearman(results["spearman"])}

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """`report.md`, `ranks.csv` and `ranks.svg`."""
        write_text(folder / "report.md", rank_validation_report(results))
        draw_rank_validation(results, folder / "ranks.svg")
        rows = results["rows"]
        names, means = ([row[key] for row in rows.values()] for key in ("candidates", "probabilities"))
        choices = Choices(results["space"], tuple(rows), tuple(map(tuple, names)), tuple(map(tuple, means)))
        table = rank_table(choices, best_networks(choices, MOST_LISTED))
        accuracies = {tuple(each["candidates"]): fmean(each["test_accuracy"]) for each in results["networks"]}
        for row in table:
            row["test_accuracy"] = accuracies.get(tuple(row[cell] for cell in rows), "")
        write_ranks(table, folder / "ranks.csv")

    def _searches(self) -> tuple[Stage, ...]:
        return tuple(Stage(_search(seed), "search", "search", {"seed_everything": seed}) for seed in self.repeats)

    def _trainings(self, number: int) -> list[tuple[str, int]]:
        """Name and seed of the retrainings of a network."""
        return [(f"{_network(number)}_seed_{seed}", seed) for seed in self.seeds]

    def _found(self, history: History) -> list[Candidates]:
        """What each search has left."""
        found = []
        for seed in self.repeats:
            if (each := history[_search(seed)].candidates) is None:
                raise ValueError(
                    f"The stage `{_search(seed)}` has left no candidates.json, because its configuration replaces "
                    "trainer.callbacks: write `callbacks+` in its place."
                )
            found.append(each)
        return found

    def _choices(self, history: History) -> Choices:
        return Choices.of(self._found(history))

    def _chosen(self, choices: Choices) -> list[Ranked]:
        """The networks that are trained, in the order in which they have their numbers."""
        key = "networks" if self.networks else "count"
        try:
            if not self.networks:
                return spread_networks(choices, self.count, self.spread_seed)
            numbers = [choices.choice_of(each) for each in self.networks]
        except ValueError as error:
            raise ValueError(f"job.{key}: {error}") from None
        return [Ranked(choice, choices.log_rank(choice)) for choice in numbers]


def _search(seed: int) -> str:
    return f"search_seed_{seed}"


def _network(number: int) -> str:
    return f"network_{number:02d}"


def _in_order(found: Candidates, cell: str, names: Sequence[str]) -> list[float]:
    (edge,) = found.cells[cell]
    known = dict(zip(edge.operations, edge.probabilities, strict=True))
    return [known[name] for name in names]
