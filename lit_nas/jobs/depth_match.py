"""Which search network is as hard to optimise as the network that is built in the end.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, section 3.4.2 and appendix C.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.jobs.history import Found, History
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import Group, Stage, with_callback
from lit_nas.networks.registry import find_retrain_network
from lit_nas.optim import GradientConfusion
from lit_nas.record.names import import_class
from lit_nas.record.plain import build, plain
from lit_nas.report.depth_match import depth_match_csv, depth_match_table, nearest

__all__ = ("DepthMatch",)

CONFUSION, TARGET = "confusion.json", "target"


@dataclass(frozen=True)
class DepthMatch(Job):
    """Trains a target network and search networks of several widths and depths, and compares their gradient confusion.

    The target is a retraining (section `retrain`) of a genotype; candidates are searches (section `search`). None waits
    for another. Beside `results.json` lie `depth_match.md` and `depth_match.csv`, with the candidates whose confusion
    per weight is nearest to that of the target.

    Raises:
        ValueError: if there is no candidate, one is not a pair of numbers or appears twice, or a number is out of
            range.
    """

    candidates: Sequence[Sequence[int]] = ((32, 17), (16, 14), (10, 11), (16, 5), (16, 17), (16, 20))
    """(init_channels, num_cells) of each search network; those of the paper's table by default."""
    genotype: str = "DARTS_V2"
    """What the target is built of: a published name, or a file. The paper does not say of what; its own cell is known
    only when the search is over."""
    propose_count: int = 3
    """How many candidates are proposed: at most with a tolerance, otherwise exactly, however far they are."""
    tolerance: float | None = None
    """Largest difference to the target, as a part of the target, of a candidate that is proposed. The paper takes 0.55
    to 0.58 for 0.57, and neither 0.36 nor 0.87, which 0.1 tells apart; it states no number. None proposes the nearest
    ones."""
    estimator: GradientConfusion = GradientConfusion()
    """How confusion is estimated."""

    def __post_init__(self) -> None:
        given = self.candidates
        whole = isinstance(given, (list, tuple)) and all(isinstance(each, (list, tuple)) for each in given)
        if not given or not whole or any(len(each) != 2 or not all(map(_is_size, each)) for each in given):
            raise ValueError(
                "job.candidates must be a list of pairs (init_channels, num_cells), such as [[16, 14], [10, 11]], not "
                f"{given!r}."
            )
        object.__setattr__(self, "candidates", tuple(tuple(each) for each in given))
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError(f"job.candidates names a pair twice: {[list(each) for each in self.candidates]}.")
        if self.propose_count < 1:
            raise ValueError(f"job.propose_count must be at least 1, not {self.propose_count}.")
        if self.propose_count > len(self.candidates):
            raise ValueError(
                f"job.propose_count is {self.propose_count}, but job.candidates has only {len(self.candidates)}: "
                "propose fewer."
            )
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"job.tolerance must be positive or null, not {self.tolerance}.")
        if not isinstance(self.estimator, GradientConfusion):
            raise ValueError(f"job.estimator must be a GradientConfusion, not {self.estimator!r}.")

    @property
    def outlines_all(self) -> bool:
        """They are proposed at once."""
        return True

    def propose(self, history: History) -> Group | None:
        """All networks at once: none waits for another."""
        if len(history):
            return None
        target = Stage(TARGET, "retrain", "retrain", self._measured({"model.genotype": self.genotype}))
        sizes = [{"model.space.init_channels": each[0], "model.space.num_cells": each[1]} for each in self.candidates]
        searches = (
            Stage(_name(each), "search", "search", self._measured(size))
            for each, size in zip(self.candidates, sizes, strict=True)
        )
        return Group((target, *searches))

    def _measured(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return with_callback(changes, "MeasureConfusion", estimator=plain(self.estimator), every=0)

    def outline(self) -> tuple[Stage, ...]:
        """All networks.

        Raises:
            FileNotFoundError: if there is no such genotype.
            ValueError: if it is not one.
        """
        load_genotype(self.genotype)
        return super().outline()

    def results(self, history: History) -> dict[str, Any]:
        """The rows of the table: target and candidates, and what is proposed."""
        target = self._row(history[TARGET], _sizes(history[TARGET], load_genotype(self.genotype)), None)
        rows = [self._row(history[_name(each)], each, target["confusion"]) for each in self.candidates]
        return {
            "estimator": plain(self.estimator),
            "target": target,
            "candidates": rows,
            "tolerance": self.tolerance,
            "proposed": nearest(rows, self.propose_count, self._farthest(target["confusion"])),
            **super().results(history),
        }

    def _farthest(self, target: float) -> float | None:
        return None if self.tolerance is None else self.tolerance * abs(target)

    def _row(self, found: Found, size: Sequence[int | None], target: float | None) -> dict[str, Any]:
        path, again = found.folder / CONFUSION, f"do it again with --redo {found.name}"
        if not path.is_file():
            raise ValueError(f"The stage `{found.name}` has left no {CONFUSION}: {again}.")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["estimator"] != plain(self.estimator):
            raise ValueError(
                f"The confusion of the stage `{found.name}` was estimated with {content['estimator']}, but "
                f"job.estimator is {plain(self.estimator)}: {again}."
            )
        last = content["epochs"][-1]
        normal = None if found.genotype is None else found.genotype.cells.get("normal")
        skips = None if normal is None else sum(edge.operation == "skip_connect" for edge in normal.edges)
        return {
            "name": found.name,
            "init_channels": size[0],
            "num_cells": size[1],
            "weights": last["weights"],
            "confusion": last["per_mebi"],
            "difference": 0.0 if target is None else last["per_mebi"] - target,
            "skips": skips,
        }

    def summary(self, results: Mapping[str, Any]) -> dict[str, str]:
        """Confusion of each network, those that are proposed or, without a tolerance, nearest marked."""
        rows = (results["target"], *results["candidates"])
        marks = dict.fromkeys(results["proposed"], " (nearest)" if results["tolerance"] is None else " (proposed)")
        return {row["name"]: f"{row['confusion']:.4g}{marks.get(row['name'], '')}" for row in rows}

    def write(self, results: Mapping[str, Any], folder: Path) -> None:
        """`depth_match.md` and `depth_match.csv`."""
        write_text(folder / "depth_match.md", depth_match_table(results))
        write_text(folder / "depth_match.csv", depth_match_csv(results))


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _name(candidate: Sequence[int]) -> str:
    return f"search_{candidate[0]}x{candidate[1]}"


def _sizes(target: Found, genotype: Genotype) -> list[int | None]:
    """Channels and cells of the network that was built, those that the configuration leaves to it included."""
    model = target.configuration["model"]["init_args"]
    network = model["network"]
    if isinstance(network, Mapping):
        network = build(import_class(network["class_path"]), network.get("init_args") or {})
    names = ("init_channels", "num_cells")
    built = find_retrain_network(network, genotype).with_numbers(**{name: model[name] for name in names})
    return [getattr(built, name, None) for name in names]
