"""The job of most methods: search once, retrain what was found, test it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_nas.jobs.history import History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import FileOf, Stage

__all__ = ("SearchThenRetrain",)

SCORES = ("accuracy", "perplexity", "loss")
"""Scores of a test, those that people look at first."""


@dataclass(frozen=True)
class SearchThenRetrain(Job):
    """Searches, derives, retrains and tests."""

    def propose(self, history: History) -> Stage | None:
        """The search, then the retraining."""
        return next((stage for stage in self.outline() if stage.name not in history), None)

    def outline(self) -> tuple[Stage, ...]:
        """Both stages: only the genotype of the second one is not known beforehand."""
        takes = {"model.genotype": FileOf("search")}
        return Stage("search", "search", "search"), Stage(
            "retrain", "retrain", "retrain", takes=takes, divides_as="search"
        )

    def results(self, history: History) -> dict[str, Any]:
        """Genotype, scores and cost."""
        search, retrain = history["search"], history["retrain"]
        assert search.genotype is not None  # a search without one is not finished
        return {
            "genotype": search.genotype.to_dict(),
            **{f"test_{name}": retrain.scores[f"test/{name}"] for name in SCORES if f"test/{name}" in retrain.scores},
            "search_seconds": search.cost["seconds"],
            "retrain_seconds": retrain.cost["seconds"],
            "search_cost": dict(search.cost),
            "retrain_cost": dict(retrain.cost),
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Accuracy or perplexity, and time."""
        name = next(name for name in SCORES if f"test_{name}" in results)
        return {
            f"test {name}": f"{results[f'test_{name}']:.4f}",
            "search": f"{results['search_seconds']:.0f} s",
            "retraining": f"{results['retrain_seconds']:.0f} s",
        }
