"""A job with several seeds, and what its numbers are on average."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from lit_nas.atomic_write import write_text
from lit_nas.jobs.chains import part_of, within
from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.loop import members
from lit_nas.jobs.search_then_retrain import SearchThenRetrain
from lit_nas.jobs.stage import Group, Stage
from lit_nas.spaces import Candidates

__all__ = ("OneFit", "Sweep")


@dataclass(frozen=True)
class OneFit(Job):
    """A single fit, from the section `fit`: what `lit-nas sweep` makes of the configuration of a fit."""

    kind: Literal["search", "retrain"] = "search"
    """A retraining is tested."""

    @property
    def sections(self) -> tuple[str, ...]:
        """The one."""
        return ("fit",)

    @property
    def outlines_all(self) -> bool:
        """It is one."""
        return True

    def propose(self, history: History) -> Stage | None:
        """The fit."""
        return None if len(history) else Stage("fit", "fit", self.kind)


@dataclass(frozen=True)
class Sweep(Job):
    """Runs a job once with each of several seeds; seeds do not wait for each other.

    `results.json` holds what the job has found with each seed, and mean and deviation (of a sample) of all its numbers;
    `sweep.md` beside it is a table of those that the job tells of itself, or of all where it tells none. The folders
    `seed_0` and so on hold what the job writes beside its results.

    Raises:
        ValueError: if there is no seed, or one is negative or given twice.
    """

    free = ("seeds",)

    job: Job = SearchThenRetrain()  # noqa: RUF009  # it is frozen
    """What is run."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """`seed_everything` of all stages of a run. A stage to which the job gives a seed of its own has one that follows
    from both, so that no run repeats another one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(self.seeds))  # lists come from YAML
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ValueError(
                f"job.seeds of a Sweep must be whole numbers that are not negative, not {list(self.seeds)}."
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"job.seeds of a Sweep names a seed twice: {list(self.seeds)}.")

    @property
    def sections(self) -> tuple[str, ...]:
        """Those of the job."""
        return self.job.sections

    @property
    def outlines_all(self) -> bool:
        """If the job does."""
        return self.job.outlines_all

    def check_candidates(self, candidates: Candidates) -> None:
        """As the job does."""
        self.job.check_candidates(candidates)

    def chain_of(self, name: str) -> str:
        """The seed, and the chain of the job."""
        prefix = next((each for each in map(_prefix, self.seeds) if name.startswith(each)), "")
        return prefix + self.job.chain_of(name.removeprefix(prefix))

    def propose(self, history: History) -> Group | None:
        """What comes next with each seed."""
        stages = [
            _with(seed, stage)
            for seed in self.seeds
            for stage in members(self.job.propose(part_of(_prefix(seed), history)))
        ]
        return Group(tuple(stages)) if stages else None

    def outline(self) -> tuple[Stage, ...]:
        """All that can be told, of each seed."""
        return tuple(_with(seed, stage) for seed in self.seeds for stage in self.job.outline())

    def results(self, history: History) -> dict[str, Any]:
        """By seed what the job has found, and its numbers on average."""
        runs = {str(seed): self.job.results(part_of(_prefix(seed), history)) for seed in self.seeds}
        numbers = [dict(_numbers(run)) for run in runs.values()]
        common = [key for key in numbers[0] if all(key in each for each in numbers)]
        return {
            "seeds": list(self.seeds),
            "runs": runs,
            "statistics": {key: _statistics([each[key] for each in numbers]) for key in common},
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Mean and deviation of accuracies, losses, correlations and times."""
        return {key: _spread(found) for key, found in _shown(results).items()}

    def write_so_far(self, history: History, folder: Path) -> None:
        """What the job writes as it goes on, for each seed that has begun."""
        for seed in self.seeds:
            if len(own := part_of(_prefix(seed), history)):
                self.job.write_so_far(own, _own_folder(seed, folder))

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """`sweep.md`, and for each seed what the job writes."""
        for seed in self.seeds:
            self.job.write(results["runs"][str(seed)], _own_folder(seed, folder))
        shown = _shown(results)
        rows = [("Seed", *shown), ("---",) * (1 + len(shown))]
        for number, seed in enumerate(results["seeds"]):
            rows.append((str(seed), *(f"{found['values'][number]:.4g}" for found in shown.values())))
        rows.append(("mean +- deviation", *map(_spread, shown.values())))
        write_text(folder / "sweep.md", "".join(f"| {' | '.join(row)} |\n" for row in rows))


def _prefix(seed: int) -> str:
    return f"seed_{seed}_"


def _own_folder(seed: int, folder: Path) -> Path:
    path = folder / f"seed_{seed}"
    path.mkdir(exist_ok=True)  # not all that a job writes makes its folder
    return path


def _with(seed: int, stage: Stage) -> Stage:
    stage = within(_prefix(seed), stage)
    own = stage.changes.get("seed_everything")
    mixed = {"seed_everything": seed if own is None else random.Random(f"{seed} {own}").randrange(2**31)}
    return replace(stage, changes=mixed | dict(stage.changes) | mixed)  # callbacks+ stays last


def _numbers(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """All numbers by their keys, those of genotypes aside."""
    for key, value in found.items():
        if isinstance(value, Mapping) and key != "genotype":
            yield from _numbers(value, f"{before}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield before + key, value


def _statistics(values: list[float]) -> dict[str, Any]:
    return {"mean": fmean(values), "deviation": stdev(values) if len(values) > 1 else None, "values": values}


def _shown(results: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that people look at."""
    words = ("accuracy", "loss", "seconds", "perplexity", "coefficient", "pearson")
    found = {key: each for key, each in results["statistics"].items() if key.endswith(words) and "_cost." not in key}
    return {key: each for key, each in found.items() if not key.startswith("stages.")} or found


def _spread(found: Mapping[str, Any]) -> str:
    deviation = found["deviation"]
    return f"{found['mean']:.4g}" + ("" if deviation is None else f" +- {deviation:.2g}")
