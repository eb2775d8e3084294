"""A job that walks through a space of cells: a short search of the cells around an anchor of each row, and a step.

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.4 and 3.2. Not said there, and chosen here: that cells which
several points of a row share compete as one, that anchors stay in [0, 1], that each iteration has a seed of its own
(with one for all, the random start of the architecture would push anchors the same way each time), and when networks
are trained: those of the first anchors, of every n-th, and of the last ones.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.dags import FeatureSpace, Point
from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.jobs.anchor_walk import AnchorWalk, Rows, check_count, checked_anchor, iteration_name
from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import Group, Stage, WeightsOf
from lit_nas.jobs.strategies import PseudoGradient, Strategy
from lit_nas.report.linear_trend import linear_trend
from lit_nas.report.outer_search import (
    draw_accuracy,
    draw_trajectories,
    networks_csv,
    outer_search_report,
    trajectory_csv,
)
from lit_nas.spaces import DagSpace

__all__ = ("Evaluation", "OuterSearch")


@dataclass(frozen=True)
class Evaluation:
    """Which anchors have their network trained from scratch: the first ones, those of every n-th iteration, the last.

    Raises:
        ValueError: if a number is below 1.
    """

    every: int = 10
    """n."""
    repeats: int = 1
    """How many times each of these networks is trained, with a seed of its own each time."""

    def __post_init__(self) -> None:
        for name in ("every", "repeats"):
            check_count(f"job.evaluation.{name}", getattr(self, name))


@dataclass(frozen=True)
class OuterSearch(Job):
    """Searches among the cells around an anchor of each row, moves the anchors, and so on.

    An iteration is a stage from the section `search`, whose space must be `DagSpace`: its rows are the cells next to an
    anchor and to its neighbours. Networks are trained from the section `retrain`, beside the next iteration. Beside
    `results.json` lie `trajectory.csv` and `networks.csv`, which grow as the job goes on, and at its end `report.md`,
    `accuracy.svg` and `trajectories.svg`. Anchors follow from the seed and from what the iterations have found, and are
    stored nowhere else.

    Raises:
        ValueError: if a number is out of range, the anchors are not a point of [0, 1] for each row, or the strategy is
            none.
    """

    free = ("iterations", "evaluation")

    iterations: int = 100
    """How many searches there are."""
    rows: int = 4
    """Rows of the chain, as many as `model.space.widths` has numbers."""
    strategy: Strategy = PseudoGradient()  # noqa: RUF009  # it is frozen
    """Which cells a row has, and where its anchor goes next."""
    features: FeatureSpace = field(default_factory=FeatureSpace)
    """What a point is, and which DAG stands for it."""
    anchors: tuple[Point, ...] = ()
    """The first anchors, one for each row; by default they are drawn uniformly from [0, 1]."""
    seed: int = 0
    """Of the first anchors and of the strategy; iterations and networks have seeds from `seed_everything`."""
    inherits_weights: bool = True
    """Whether a network begins with the weights of the one before it, as far as it has the same convolutions: with
    `SharedDagConvs` those between the same vertices of a row, otherwise those of a cell that was there before."""
    evaluation: Evaluation = Evaluation()
    """Which networks are trained from scratch."""

    def __post_init__(self) -> None:
        for name in ("iterations", "rows"):
            check_count(f"job.{name}", getattr(self, name))
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"job.seed must be a whole number that is not negative, not {self.seed!r}.")
        if not isinstance(self.strategy, Strategy):
            raise ValueError(
                "job.strategy must have a class_path, that of PseudoGradient, RandomSteps, EvolveBest or a Strategy of "
                f"your own, but is {self.strategy!r}."
            )
        if not isinstance(self.anchors, (list, tuple)) or len(self.anchors) not in (0, self.rows):
            raise ValueError(
                f"job.anchors must be a list of one point for each of the {self.rows} rows, or be left out, not "
                f"{self.anchors!r}."
            )
        given = enumerate(self.anchors)  # lists come from YAML
        object.__setattr__(self, "anchors", tuple(checked_anchor(f"job.anchors[{row}]", point) for row, point in given))

    def propose(self, history: History) -> Group | None:
        """The next iteration, and networks that do not wait for it."""
        walked = self._walk(history)
        for number, rows in enumerate(walked, 1):
            stages = self._stages(number, rows, walked[0], history)
            if any(stage.name not in history for stage in stages):
                return Group(stages)
        return None

    def outline(self) -> tuple[Stage, ...]:
        """The first iteration, and the network of the first anchors."""
        (rows,) = self._walk(History())
        return self._iteration(1, rows, {}), self._networks(1, rows, {}, {})[0]

    def _walk(self, history: History) -> list[Rows]:
        walk = AnchorWalk(self.strategy, self.features, self.anchors, self.rows, self.iterations, self.seed)
        return walk.until(history)

    def _stages(self, number: int, rows: Rows, first: Rows, history: History) -> tuple[Stage, ...]:
        """An iteration, and networks of its anchors: those of the first one a step later, when its seed is known."""
        if number == 1:
            return (self._iteration(1, rows, {}),)
        began = history[iteration_name(1)]
        seed = began.configuration["seed_everything"]
        meta = {} if began.genotype is None else began.genotype.meta
        held_out = {key: meta[key] for key in ("held_out",) if key in meta}
        stages = list[Stage]()
        if number <= self.iterations:
            stages.append(self._iteration(number, rows, {"seed_everything": _seed(seed, "iteration", number)}))
        for other, networks in ((1, first), (number, rows)):
            if self._is_evaluated(other) and (other > 1 or number == 2):
                seeds = {
                    repeat: _seed(seed, "network", other, repeat) for repeat in range(1, self.evaluation.repeats + 1)
                }
                stages += self._networks(other, networks, seeds, held_out)
        return tuple(stages)

    def _is_evaluated(self, number: int) -> bool:
        return (number - 1) % self.evaluation.every == 0 or number == self.iterations + 1

    def _iteration(self, number: int, rows: Rows, changes: Mapping[str, Any]) -> Stage:
        before = WeightsOf(iteration_name(number - 1), partly=True) if self.inherits_weights and number > 1 else None
        space = {
            "model.space.rows": [list(row.cells) for row in rows],
            "model.space.vertices": self.features.vertices,
        }
        return Stage(iteration_name(number), "search", "search", {**space, **changes}, weights=before)

    def _networks(
        self, number: int, rows: Rows, seeds: Mapping[int, int], facts: Mapping[str, Any]
    ) -> tuple[Stage, ...]:
        genotype = self._genotype(number, rows, facts).to_dict()
        return tuple(
            Stage(
                _network_name(number, repeat), "retrain", "retrain",
                {"model.genotype": genotype, **({"seed_everything": seeds[repeat]} if seeds else {})},
                divides_as=iteration_name(1),
            )
            for repeat in seeds or (1,)
        )  # fmt: skip

    def _genotype(self, number: int, rows: Rows, facts: Mapping[str, Any]) -> Genotype:
        cells = {
            f"row_{place}": CellGenotype((Edge(row.dags[0], 0, 1),), (1,), inputs=1)
            for place, row in enumerate(rows, 1)
        }
        return Genotype(cells, DagSpace.name, meta={"outer_iteration": number, **facts})

    def results(self, history: History) -> dict[str, Any]:
        """The chain of the last anchors, all rows, accuracies of the networks and their trend, and costs."""
        found, walked = self._so_far(history), self._walk(history)
        last = walked[-1]
        pairs = [(each["iteration"], value) for each in found["networks"] for value in each["test_accuracy"]]
        kinds = {kind: [each for each in history if each.name.startswith(kind)] for kind in ("iteration", "network")}
        seconds = {kind: sum(each.cost["seconds"] for each in stages) for kind, stages in kinds.items()}
        return {
            "genotype": self._genotype(len(walked), last, {}).to_dict(),
            "test_accuracy": found["networks"][-1]["test_accuracy"][-1],
            "trend": linear_trend(*zip(*pairs, strict=True)),
            "search_seconds": seconds["iteration"],
            "retrain_seconds": seconds["network"],
            **found,
            **super().results(history),
        }

    def _so_far(self, history: History) -> dict[str, Any]:
        walked, networks = self._walk(history), list[dict[str, Any]]()
        for number, rows in enumerate(walked, 1):
            names = (_network_name(number, repeat) for repeat in range(1, self.evaluation.repeats + 1))
            if scores := [history[name].scores["test/accuracy"] for name in names if name in history]:
                networks.append({"iteration": number, "dags": [row.dags[0] for row in rows], "test_accuracy": scores})
        trajectory = [
            {
                "iteration": number,
                "rows": [
                    {
                        "points": [list(point) for point in row.points],
                        "dags": list(row.dags),
                        "probabilities": list(row.probabilities),
                    }
                    for row in rows
                ],
            }
            for number, rows in enumerate(walked, 1)
        ]
        return {"trajectory": trajectory, "networks": networks}

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Accuracy of the first and of the last network, the trend, and the time."""
        networks, trend = results["networks"], results["trend"]
        return {
            "first network": f"test accuracy {networks[0]['test_accuracy'][0]:.4f}",
            "last network": f"test accuracy {results['test_accuracy']:.4f}",
            "trend": "undefined" if trend is None else f"r = {trend['pearson']:.2f}, p = {trend['p_value']:.2g}",
            "search": f"{results['search_seconds']:.0f} s",
            "networks": f"{results['retrain_seconds']:.0f} s",
            "report": "report.md",
        }

    def write_so_far(self, history: History, folder: Path) -> None:
        """`trajectory.csv` and `networks.csv`."""
        self._write_tables(self._so_far(history), folder)

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """All files beside `results.json`."""
        self._write_tables(results, folder)
        write_text(folder / "report.md", outer_search_report(results))
        draw_accuracy(results, folder / "accuracy.svg")
        draw_trajectories(results, folder / "trajectories.svg")

    def _write_tables(self, found: Mapping[str, Any], folder: Path) -> None:
        write_text(folder / "trajectory.csv", trajectory_csv(found))
        write_text(folder / "networks.csv", networks_csv(found))


def _network_name(number: int, repeat: int) -> str:
    return f"network_{number:03d}_run_{repeat}"


def _seed(base: int, *place: str | int) -> int:
    """A seed of its own for each place."""
    return random.Random(" ".join(map(str, (base, *place)))).randrange(2**31)
