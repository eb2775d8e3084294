"""A job whose second search has what the first one has left: its candidates and its weights."""

from dataclasses import dataclass

from lit_nas.jobs import FileOf, History, Job, Stage, WeightsOf

ROWS = [["none", "sep_conv_3x3"], [], ["skip_connect"], ["none", "max_pool_3x3"], []]


@dataclass(frozen=True)
class Narrowing(Job):
    """Searches among few candidates, goes on with those and their weights, retrains."""

    deeper: bool = False
    """Whether the second network has a cell more."""
    partly: bool = False
    """Whether its weights may be new where the first network has none."""

    def propose(self, history: History) -> Stage | None:
        """What comes next."""
        return next((stage for stage in self.outline() if stage.name not in history), None)

    def outline(self) -> tuple[Stage, ...]:
        """All stages: only their files are not known beforehand."""
        few = {"model.space.candidates": {"normal": ROWS, "reduce": ROWS}}
        still = {
            "model.optim.weights": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}},
            "model.space.num_cells": 4 if self.deeper else 3,
        }
        takes = {"model.space.candidates": FileOf("wide", "candidates.json")}
        return (
            Stage("wide", "search", "search", few),
            Stage("narrow", "search", "search", still, takes, weights=WeightsOf("wide", self.partly)),
            Stage("retrain", "retrain", "retrain", takes={"model.genotype": FileOf("narrow")}, divides_as="narrow"),
        )
