"""The job of most methods: search once, retrain what was found, test it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_nas.jobs.history import History, test_lines, test_scores
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import FileOf, Stage

__all__ = ("SearchThenRetrain",)


@dataclass(frozen=True)
class SearchThenRetrain(Job):
    """Searches, derives, retrains and tests."""

    @property
    def outlines_all(self) -> bool:
        """There are two."""
        return True

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
            **test_scores(retrain),
            "search_seconds": search.cost["seconds"],
            "retrain_seconds": retrain.cost["seconds"],
            "search_cost": dict(search.cost),
            "retrain_cost": dict(retrain.cost),
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Accuracy and time."""
        return {
            **test_lines(results),
            "search": f"{results['search_seconds']:.0f} s",
            "retraining": f"{results['retrain_seconds']:.0f} s",
        }
