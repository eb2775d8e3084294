"""The outer search of FaDE: what it proposes given what was found, what it refuses, and that any death is survived."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.dags import FeatureSpace
from lit_nas.genotype import Genotype
from lit_nas.jobs import (
    Candidates,
    EdgeCandidates,
    Evaluation,
    EvolveBest,
    Found,
    History,
    OuterSearch,
    PseudoGradient,
    RandomSteps,
    Strategy,
    Sweep,
    WeightsOf,
    load_candidates,
)
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchModule
from tests.cli.test_run import TRAINER, job
from tests.support.mortal_job import Died, MortalJob
from tests.support.resume_job import differences

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SLOW = pytest.mark.slow
ANCHORS = ((0.2, 0.4, 0.6), (0.9, 0.1, 0.5))
WALK = OuterSearch(
    iterations=3, rows=2, features=FeatureSpace(4), anchors=ANCHORS, evaluation=Evaluation(every=2, repeats=2)
)
NAMES = [
    ["iteration_001"],
    ["iteration_002", "network_001_run_1", "network_001_run_2"],
    ["iteration_003", "network_003_run_1", "network_003_run_2"],
    ["network_004_run_1", "network_004_run_2"],
]


def rising(row, place, count):
    """A probability that grows with the place of a cell in its row."""
    return (place + 1) / (count * (count + 1) / 2)


def finished(stage, probability=rising, seed=7):
    """What a stage would leave."""
    if stage.kind == "retrain":
        number = int(stage.name.split("_")[1])
        return Found(
            stage.name, Path(stage.name), {}, None, None, {"test/accuracy": number / 10}, {"seconds": 2.0}, None
        )
    cells = {}
    for row, names in enumerate(stage.changes["model.space.rows"], 1):
        values = tuple(probability(row, place, len(names)) for place in range(len(names)))
        cells[f"row_{row}"] = (EdgeCandidates(0, 1, tuple(names), values),)
    shape = {"row_1": {"inputs": 1, "nodes": [[["dag1", 0]]], "concat": [1]}}
    genotype = Genotype.from_dict(
        {"format": "lit-nas genotype", "version": 1, "name": "", "space": "dags", "cells": shape,
         "meta": {"held_out": {"split": "one-one-four"}, "epoch": 4}}
    )  # fmt: skip
    seed = stage.changes.get("seed_everything", seed)
    return Found(
        stage.name, Path(stage.name), {"seed_everything": seed}, genotype, Candidates("dags", cells), {},
        {"seconds": 1.0}, None,
    )  # fmt: skip


def histories(search, **how):
    """The history before each proposal, with the stages that are proposed."""
    history, found = History(), []
    while (proposed := search.propose(history)) is not None:
        found.append((history, proposed.stages))
        history = History((*history.stages, *(finished(stage, **how) for stage in proposed.stages)))
    return [*found, (history, ())]


def anchors(search, **how):
    """For each iteration the anchor of each row."""
    history = histories(search, **how)[-1][0]
    walked = search.results(history)["trajectory"]
    return [[tuple(row["points"][0]) for row in each["rows"]] for each in walked]


def test_networks_are_trained_beside_the_next_iteration_and_at_the_end():
    proposals = histories(WALK)
    assert [[stage.name for stage in stages] for _, stages in proposals[:-1]] == NAMES
    for history, stages in proposals[:-1]:
        assert WALK.propose(history).stages == stages  # from the history alone
    assert [stage.name for stage in WALK.outline()] == ["iteration_001", "network_001_run_1"]
    assert WALK.outline()[0] == proposals[0][1][0]
    longer = replace(WALK, iterations=5)
    assert longer.propose(proposals[-1][0]).stages[0].name == "iteration_004"
    assert {"iterations", "evaluation"} == set(OuterSearch.free)


def test_each_iteration_searches_the_cells_around_its_anchors():
    proposals = histories(WALK)
    trajectory = WALK.results(proposals[-1][0])["trajectory"]
    stages = [stage for _, group in proposals for stage in group if stage.kind == "search"]
    for stage, each in zip(stages, trajectory, strict=False):
        assert stage.changes["model.space.vertices"] == 4
        assert stage.divides_as == ""
        for names, row in zip(stage.changes["model.space.rows"], each["rows"], strict=True):
            anchor, *around = map(tuple, row["points"])
            assert tuple(around) == PseudoGradient().neighbours(anchor, None)
            assert row["dags"] == [FeatureSpace(4).nearest(point) for point in row["points"]]
            assert names == list(dict.fromkeys(row["dags"]))  # each once
            assert len(names) < 7
    assert [stage.weights for stage in stages] == [
        None, WeightsOf("iteration_001", partly=True), WeightsOf("iteration_002", partly=True)
    ]  # fmt: skip
    alone = replace(WALK, inherits_weights=False)
    assert all(stage.weights is None for _, group in histories(alone) for stage in group)


def test_anchors_move_by_the_probabilities_that_were_found():
    proposals = histories(WALK)
    before, after = (WALK.results(proposals[-1][0])["trajectory"][place]["rows"] for place in (0, 1))
    for row, moved in zip(before, after, strict=True):
        names = list(dict.fromkeys(row["dags"]))
        values = {name: rising(0, place, len(names)) for place, name in enumerate(names)}
        assert row["probabilities"] == [values[name] for name in row["dags"]]
        for axis in range(3):
            more, less = row["dags"][1 + 2 * axis], row["dags"][2 + 2 * axis]
            wanted = row["points"][0][axis] + 0.5 * (values[more] - values[less])
            assert moved["points"][0][axis] == pytest.approx(min(max(wanted, 0), 1))
    assert anchors(WALK)[0] == list(ANCHORS)
    assert anchors(WALK)[-1] != list(ANCHORS)


@pytest.mark.parametrize("strategy", [PseudoGradient(), RandomSteps(), EvolveBest()])
def test_rows_do_not_know_of_each_other(strategy):
    def other(row, place, count):
        return rising(row, count - 1 - place if row == 1 else place, count)

    search = replace(WALK, strategy=strategy)
    first, second = anchors(search), anchors(search, probability=other)
    assert [rows[1] for rows in first] == [rows[1] for rows in second]
    if not isinstance(strategy, RandomSteps):
        assert [rows[0] for rows in first] != [rows[0] for rows in second]
    assert anchors(replace(search, anchors=())) == anchors(replace(search, anchors=()))
    assert anchors(replace(search, anchors=()))[0] != anchors(replace(search, anchors=(), seed=1))[0]
    drawn = anchors(replace(search, anchors=(), rows=9))[0]
    assert len(set(drawn)) == 9
    assert all(0 <= value <= 1 for point in drawn for value in point)


def test_stages_have_seeds_of_their_own_that_follow_from_the_one_of_the_job():
    def seeds(seed):
        stages = [stage for _, group in histories(WALK, seed=seed) for stage in group]
        return {stage.name: stage.changes.get("seed_everything") for stage in stages}

    found = seeds(7)
    assert found.pop("iteration_001") is None  # that of the job
    assert len(set(found.values())) == len(found)
    assert seeds(7) == {"iteration_001": None, **found}
    assert not set(seeds(8).values()) & set(found.values())


def test_networks_are_those_of_the_anchors_and_know_what_was_held_out():
    proposals = histories(WALK)
    trajectory = WALK.results(proposals[-1][0])["trajectory"]
    for stage in (stage for _, group in proposals for stage in group if stage.kind == "retrain"):
        genotype = Genotype.from_dict(stage.changes["model.genotype"])
        number = int(stage.name.split("_")[1])
        chosen = [row["dags"][0] for row in trajectory[number - 1]["rows"]]
        assert [cell.edges[0].operation for cell in genotype.cells.values()] == chosen
        assert genotype.meta == {"outer_iteration": number, "held_out": {"split": "one-one-four"}}
        assert stage.divides_as == "iteration_001"


def test_results_tell_the_trend_and_all_files_are_written(tmp_path):
    proposals = histories(WALK)
    results = WALK.results(proposals[-1][0])
    assert [each["iteration"] for each in results["networks"]] == [1, 3, 4]
    assert results["trend"]["pearson"] == pytest.approx(1.0)
    assert results["trend"]["slope"] == pytest.approx(0.1)
    assert (results["search_seconds"], results["retrain_seconds"], results["test_accuracy"]) == (3.0, 12.0, 0.4)
    WALK.write(json.loads(json.dumps(results)), tmp_path)
    for name in ("accuracy.svg", "trajectories.svg"):
        assert "<svg" in (tmp_path / name).read_text()
    report = (tmp_path / "report.md").read_text()
    assert "Pearson r = 1.00" in report
    assert "| 3 | 30.00 +- 0.00 |" in report
    assert "r = 1.00" in WALK.summary(results)["trend"]


def test_tables_grow_with_the_history(tmp_path):
    sizes = []
    for history, _ in histories(WALK)[1:]:
        WALK.write_so_far(history, tmp_path)
        points = list(csv.DictReader((tmp_path / "trajectory.csv").open()))
        networks = list(csv.DictReader((tmp_path / "networks.csv").open()))
        sizes.append((len(points), len([row for row in points if row["probability"]]), len(networks)))
    # 14 points in an iteration; the next one is known, but not evaluated; behind the last one there are anchors alone
    assert sizes == [(28, 14, 0), (42, 28, 2), (44, 42, 4), (44, 42, 6)]
    first = points[0]
    assert tuple(float(first[name]) for name in ("eccentricity", "degree", "vertices")) == ANCHORS[0]
    assert first["dag"] == FeatureSpace(4).nearest(ANCHORS[0])


def test_cells_that_a_search_has_pruned_count_as_impossible():
    _, (stage,) = histories(WALK)[0]
    found = finished(stage)
    cells = dict(found.candidates.cells)
    (edge,) = cells["row_1"]
    cells["row_1"] = (EdgeCandidates(0, 1, edge.operations[:1], (1.0,)),)
    history = History((replace(found, candidates=Candidates("dags", cells)),))
    assert set(WALK._walk(history)[0][0].probabilities) == {0.0, 1.0}
    cells["row_1"] = (EdgeCandidates(0, 1, (), ()),)
    history = History((replace(found, candidates=Candidates("dags", cells)),))
    with pytest.raises(ValueError, match=r"`iteration_001` has left no cell in row_1: search with milder pruning"):
        WALK.propose(history)
    with pytest.raises(ValueError, match=r"`iteration_001` has left no candidates\.json: do it again with --redo"):
        WALK.propose(History((replace(found, candidates=None),)))


class Jump(Strategy):
    """Leaves the cube."""

    def neighbours(self, anchor, draw):
        return ()

    def move(self, row, draw):
        return 0.5, 1.5, 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OuterSearch(iterations=0), r"job\.iterations must be a whole number of at least 1, not 0"),
        (lambda: OuterSearch(rows=0), r"job\.rows must be a whole number of at least 1, not 0"),
        (lambda: OuterSearch(seed=-1), r"job\.seed must be a whole number that is not negative, not -1"),
        (lambda: OuterSearch(strategy="Newton"), r"job\.strategy must have a class_path, .* but is 'Newton'"),
        (
            lambda: OuterSearch(rows=1, anchors=((0.5, 0.5, 1.1),)),
            r"job\.anchors\[0\] must be a point of three numbers",
        ),
        (lambda: OuterSearch(rows=1, anchors=((0.5, 0.5),)), r"job\.anchors\[0\] must be a point of three numbers"),
        (lambda: OuterSearch(rows=2, anchors=((0.5, 0.5, 0.5),)), r"one point for each of the 2 rows"),
        (lambda: OuterSearch(anchors=4), r"job\.anchors must be a list of one point"),
        (lambda: Evaluation(every=0), r"job\.evaluation\.every must be a whole number of at least 1, not 0"),
        (lambda: Evaluation(repeats=0), r"job\.evaluation\.repeats must be a whole number of at least 1, not 0"),
        (lambda: OuterSearch(features=FeatureSpace(8)), r"vertices of FeatureSpace: .* not 8: .* take hours"),
        (
            lambda: anchors(replace(WALK, strategy=Jump())),
            r"What job\.strategy makes of row_1 after iteration 1 must be",
        ),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


WIDTHS = {"class_path": "DagSpace", "init_args": {"widths": [2, 3]}}
ADAM = {"class_path": "DartsAdam", "init_args": {"lr": 0.01}}
DATA = {
    "class_path": "SyntheticDataModule",
    "init_args": {"num_images": 40, "height": 8, "width": 8, "batch_size": 4, "augmentation": {"cutout": 0}},
}


def outer(tmp_path, space=WIDTHS, strategy=None, **arguments):
    """A job of two iterations of two epochs, and of two networks: twelve steps."""
    given = {
        "iterations": 2, "rows": 2, "features": {"vertices": 4}, "seed": 1, "evaluation": {"every": 2},
        "strategy": strategy or {"class_path": "PseudoGradient", "init_args": {"step": 2.0}}, **arguments,
    }  # fmt: skip
    optim = {"weights": ADAM, "arch": ADAM, "arch_from_epoch": 0}
    quiet = [{"class_path": "WriteGenotype", "init_args": {"picture": None}}]
    search = {
        "model": {"class_path": "GDAS", "init_args": {"space": space, "edges": "SharedDagConvs", "optim": optim}},
        "data": {**DATA, "init_args": {**DATA["init_args"], "split": "half"}},
        "trainer": {**TRAINER, "max_epochs": 2, "num_sanity_val_steps": 0, "limit_val_batches": 1, "callbacks": quiet},
    }  # fmt: skip
    network = {"class_path": "DagNetwork", "init_args": {"space": WIDTHS}}
    retrain = {
        "model": {"class_path": "RetrainModule", "init_args": {"network": network, "optim": {"auxiliary_weight": 0.0}}},
        "data": DATA, "trainer": TRAINER,
    }  # fmt: skip
    return job(
        tmp_path, job={"class_path": "OuterSearch", "init_args": given}, search=search, retrain=retrain
    )  # fmt: skip


STAGES = ("iteration_001", "iteration_002", "network_001_run_1", "network_003_run_1")


def state(folder):
    """All that a job has found, less seconds."""
    found = {name: (folder / name).read_text() for name in ("trajectory.csv", "networks.csv", "trajectories.svg")}
    for name in STAGES:
        checkpoint = torch.load(folder / name / "checkpoints" / "last.ckpt", weights_only=True)
        found[name] = {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}
        for file in ("genotype.json", "candidates.json", "test.json"):
            if (folder / name / file).exists():
                found[f"{name}/{file}"] = (folder / name / file).read_text()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an undisturbed job."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["run", "-c", outer(folder)]) == 0
    return folder / "job"


def test_one_command_walks_and_trains_what_it_has_found(whole):
    results = json.loads((whole / "results.json").read_text())
    assert list(results["stages"]) == ["iteration_001", *STAGES[1:]]
    first, second, last = results["trajectory"]
    for each, name in ((first, "iteration_001"), (second, "iteration_002")):
        cells = load_candidates(whole / name / "candidates.json").cells
        for row, edges in zip(each["rows"], cells.values(), strict=True):
            (edge,) = edges
            assert list(edge.operations) == list(dict.fromkeys(row["dags"]))
            values = dict(zip(edge.operations, edge.probabilities, strict=True))
            assert row["probabilities"] == [values[name] for name in row["dags"]]
    assert first["rows"][0]["points"][0] != last["rows"][0]["points"][0]
    chosen = [cell["nodes"][0][0][0] for cell in results["genotype"]["cells"].values()]
    assert chosen == [row["dags"][0] for row in last["rows"]]
    assert {path.name for path in whole.iterdir() if path.is_file()} >= {
        "results.json", "trajectory.csv", "networks.csv", "report.md", "accuracy.svg", "trajectories.svg"
    }  # fmt: skip
    config = yaml.safe_load((whole / "network_001_run_1" / "config.yaml").read_text())
    assert config["data"]["init_args"]["split"] == "half"  # as in the searches


def test_weights_are_carried_from_one_iteration_to_the_next(whole, tmp_path):
    """What the second search begins with, where it has the same convolutions, is what the first one ended with."""
    seen = {}
    begin = SearchModule.on_train_batch_start

    def watch(self, batch, batch_idx):
        name = Path(self.trainer.default_root_dir).name
        seen.setdefault(name, {key: value.clone() for key, value in self.network.state_dict().items()})
        return begin(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SearchModule, "on_train_batch_start", watch)
        patch.setattr(RetrainModule, "on_train_batch_start", lambda *arguments: (_ for _ in ()).throw(Died()))
        with pytest.raises(Died):
            main(["run", "-c", outer(tmp_path)])
    ended = torch.load(whole / "iteration_001" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    shared = [key for key in seen["iteration_002"] if f"network.{key}" in ended]
    assert any("pool" in key for key in shared)
    assert all(torch.equal(seen["iteration_002"][key], ended[f"network.{key}"]) for key in shared)


@pytest.mark.parametrize(
    ("at", "rest"),
    [
        (6, 6),  # within the second iteration, between its epochs
        pytest.param(1, 12, marks=SLOW),  # in the first epoch of all
        pytest.param(2, 10, marks=SLOW),  # between the epochs of the first iteration
        pytest.param(4, 8, marks=SLOW),  # between the iterations
        pytest.param(8, 4, marks=SLOW),  # before the network beside the second iteration
        pytest.param(10, 2, marks=SLOW),  # before the last network
    ],
)
def test_a_job_that_dies_in_or_between_iterations_goes_on_exactly(at, rest, whole, tmp_path, monkeypatch):
    job = MortalJob(outer(tmp_path), monkeypatch)
    with pytest.raises(Died):
        job.run(dies_at=at)
    assert (tmp_path / "job" / "trajectory.csv").exists() == (at >= 4)
    assert job.run() == 0
    assert job.steps == rest
    assert differences(state(whole), state(tmp_path / "job")) == []


@SLOW
def test_a_job_may_go_on_for_longer(whole, tmp_path):
    assert main(["run", "-c", outer(tmp_path, iterations=1)]) == 0
    assert main(["run", "-c", outer(tmp_path, iterations=2)]) == 0
    assert differences(state(whole), state(tmp_path / "job")) == []


def test_seeds_of_a_sweep_reach_all_iterations():
    found = []
    for seed in (0, 1):
        sweep, history = Sweep(WALK, seeds=(seed,)), History()
        while (proposed := sweep.propose(history)) is not None:
            done = tuple(finished(stage) for stage in proposed.stages)
            found += [stage.changes["seed_everything"] for stage in proposed.stages]
            history = History((*history.stages, *done))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": 3}, "space.rows has 3 rows, but space.widths has 2 numbers"),
        ({"strategy": {"class_path": "Newton"}}, "There is no class 'Newton'"),
        pytest.param({"features": {"vertices": 9}}, "vertices of FeatureSpace: DAGs are enumerated up", marks=SLOW),
        pytest.param({"anchors": [[0.5, 0.5, 2.0], [0, 0, 0]]}, "job.anchors[0] must be a point", marks=SLOW),
        pytest.param({"space": {"class_path": "DartsSpace"}}, "model.space.rows is unknown", marks=SLOW),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(changed, message, tmp_path, capsys):
    assert main(["run", "-c", outer(tmp_path, **changed)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert not list(tmp_path.rglob("*.ckpt"))
