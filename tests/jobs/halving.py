"""A job of three stages and a group: searches, searches among the better half, retrains with two seeds."""

from dataclasses import dataclass

from lit_nas.jobs import FileOf, Group, History, Job, Stage


@dataclass(frozen=True)
class Halving(Job):
    """Keeps in the second search the operations that had most weight in the first one."""

    keep: int = 3
    """Operations of the second search."""
    seeds: tuple[int, ...] = (1, 2)
    """Of the retrainings."""

    def propose(self, history: History) -> Stage | Group | None:
        """What comes next."""
        if "first" not in history:
            return Stage("first", "search", "search")
        if "second" not in history:
            return Stage("second", "search", "search", {"model.space.operations": self._best(history)})
        takes = {"model.genotype": FileOf("second")}
        group = Group(
            tuple(
                Stage(f"seed{seed}", "retrain", "retrain", {"seed_everything": seed}, takes, divides_as="second")
                for seed in self.seeds
            )
        )
        return None if group.stages[0].name in history else group

    def _best(self, history: History) -> list[str]:
        candidates = history["first"].candidates
        weights: dict[str, float] = {}
        for edges in candidates.cells.values():
            for edge in edges:
                for operation, weight in zip(edge.operations, edge.probabilities, strict=True):
                    weights[operation] = weights.get(operation, 0.0) + weight
        return sorted(weights, key=lambda name: (-weights[name], name))[: self.keep]
