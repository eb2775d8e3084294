"""Searches in stages as one job: what is handed over, what is refused beforehand, and that any death is survived."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.jobs import Candidates, EdgeCandidates, Found, History, StagedSearch, load_candidates
from tests.cli.test_run import DATA, TRAINER, job
from tests.jobs.grouping import BestGroup
from tests.jobs.test_halving import start, wait_for
from tests.support.mortal_job import Died, MortalJob
from tests.support.resume_job import differences

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SLOW = pytest.mark.slow
NAMES = ("stage1", "stage2", "retrain")
SCHEDULE = {"class_path": "lit_nas.LinearThenExponential", "init_args": {"start": 0.0, "epochs": 1}}
STAGES = [
    {"model.space.num_cells": 3, "model.skip_dropout.start": 0.3, "model.keep": 4},
    {"model.space.num_cells": 4, "model.skip_dropout.start": 0.6},
]


def staged(tmp_path, stages=STAGES, hands_over=None, model=(), trainer=(), **top):
    """A job of P-DARTS of two stages and a retraining."""
    space = {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "nodes": 2}}
    optim = {"arch_from_epoch": 1, "arch_clip": 5.0}
    arguments = {"space": space, "skip_dropout": SCHEDULE, "optim": optim, **dict(model)}
    search = {
        "model": {"class_path": "PDARTS", "init_args": arguments}, "data": DATA,
        "trainer": {**TRAINER, "max_epochs": 2, "num_sanity_val_steps": 0, "limit_val_batches": 1,
                    "callbacks": [{"class_path": "WriteGenotype", "init_args": {"picture": None}}], **dict(trainer)},
    }  # fmt: skip
    arguments = {"stages": stages, **({} if hands_over is None else {"hands_over": hands_over})}
    return job(tmp_path, job={"class_path": "StagedSearch", "init_args": arguments}, search=search, **top)


def state(folder):
    """All that a job has found, less seconds."""
    found = {}
    for name in NAMES:
        checkpoint = torch.load(folder / name / "checkpoints" / "last.ckpt", weights_only=True)
        checkpoint = {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}
        found[name] = checkpoint
        for file in ("genotype.json", "candidates.json", "test.json", "alphas.csv"):
            if (folder / name / file).exists():
                found[f"{name}/{file}"] = (folder / name / file).read_text()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an undisturbed job."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["run", "-c", staged(folder)]) == 0
    return folder / "job"


def test_each_stage_goes_on_with_what_the_one_before_has_left(whole):
    results = json.loads((whole / "results.json").read_text())
    assert list(results["stages"]) == list(NAMES)
    assert results["genotype"] == json.loads((whole / "stage2" / "genotype.json").read_text())
    seconds = [results["stages"][name]["cost"]["seconds"] for name in NAMES]
    assert (results["search_seconds"], results["retrain_seconds"]) == (pytest.approx(sum(seconds[:2])), seconds[2])
    first, second = (load_candidates(whole / name / "candidates.json") for name in NAMES[:2])
    assert {len(edge.operations) for edges in (*first.cells.values(), *second.cells.values()) for edge in edges} == {4}
    assert first.cells.keys() == second.cells.keys()
    for name, edges in first.cells.items():
        assert [edge.operations for edge in edges] == [edge.operations for edge in second.cells[name]]
    settings = [
        yaml.safe_load((whole / name / "config.yaml").read_text())["model"]["init_args"] for name in NAMES[:2]
    ]  # fmt: skip
    assert [each["space"]["init_args"]["num_cells"] for each in settings] == [3, 4]
    assert [each["skip_dropout"]["init_args"]["start"] for each in settings] == [0.3, 0.6]
    assert [each["keep"] for each in settings] == [4, None]
    assert settings[1]["space"]["init_args"]["candidates"] == str(whole / "stage1" / "candidates.json")


def test_the_strongest_of_each_edge_are_left(whole):
    rows = [row.split(",") for row in (whole / "stage1" / "alphas.csv").read_text().splitlines()[1:]]
    last = {}
    for epoch, cell, source, target, operation, probability in rows:
        if epoch == "1":
            last.setdefault((cell, int(source), int(target)), {})[operation] = float(probability)
    found = load_candidates(whole / "stage1" / "candidates.json")
    for cell, edges in found.cells.items():
        for edge in edges:
            values = last[cell, edge.source, edge.target]
            assert len(values) == 8
            assert set(edge.operations) == set(sorted(values, key=values.get)[4:])
    assert len({edge.operations for edges in found.cells.values() for edge in edges}) > 1


def test_a_stage_goes_on_from_its_first_epoch(whole, tmp_path):
    """From what a kill within the second epoch of the second stage leaves."""
    folder, config = tmp_path / "job", staged(tmp_path)
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "retrain")
    (folder / "stage2" / "checkpoints" / "previous.ckpt").replace(folder / "stage2" / "checkpoints" / "last.ckpt")
    for file in ("genotype.json", "candidates.json", "cost.json", "genotypes/epoch-0001.json"):
        (folder / "stage2" / file).unlink()
    written = folder / "stage2" / "config.yaml"
    written.write_text(written.read_text().replace(str(whole), str(folder)))
    before = (folder / "stage1" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert main(["run", "-c", config]) == 0
    assert (folder / "stage1" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert differences(state(whole), state(folder)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "rest"),
    [
        (1, 10),  # in the first epoch of all
        (2, 8),  # in the second epoch of the first stage
        (4, 6),  # between the stages
        (6, 4),  # in the second epoch of the second stage, which goes on from the first one
        (8, 2),  # before the retraining
    ],
)
def test_a_job_that_dies_in_or_between_stages_goes_on_exactly(at, rest, whole, tmp_path, monkeypatch):
    """Each search has four steps, the retraining two."""
    job = MortalJob(staged(tmp_path), monkeypatch)
    with pytest.raises(Died):
        job.run(dies_at=at)
    assert job.run() == 0
    assert job.steps == rest
    assert differences(state(whole), state(tmp_path / "job")) == []


@pytest.mark.slow
def test_stages_are_done_again_from_any_of_them(whole, tmp_path):
    folder, config = tmp_path / "job", staged(tmp_path)
    shutil.copytree(whole, folder)
    for name in NAMES:
        written = folder / name / "config.yaml"
        written.write_text(written.read_text().replace(str(whole), str(folder)))
    assert main(["run", "-c", config, "--redo", "stage2"]) == 0
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {*NAMES, "stage2-1", "retrain-1"}
    assert differences(state(whole), state(folder)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stages": [STAGES[0], {"model.space.num_cells": 2}]}, "(of the stage `stage2`): space.num_cells must be"),
        pytest.param(
            {"stages": [STAGES[0], {"model.space.num_cell": 4}]}, "model.space.num_cell is unknown", marks=SLOW
        ),
        ({"stages": []}, "job.stages must be a list of one mapping of keys for each search"),
        ({"stages": ["stage"]}, "job.stages must hold mappings of dotted keys"),
        pytest.param(
            {"retrain": {"model": {"class_path": "RetrainModule", "init_args": {"num_cells": 1}}}},
            "In the section `retrain`",
            marks=SLOW,
        ),
        ({"stages": [{}, {"ckpt_path": "x"}]}, "The stage `stage2` sets ckpt_path"),
    ],
)
def test_what_a_later_stage_cannot_do_is_refused_before_the_first_one(changed, message, tmp_path, capsys):
    assert main(["run", "-c", staged(tmp_path, **changed)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "job" / "stage1" / "checkpoints").exists()


GROUPS = {
    "max_pool_3x3": ["max_pool_3x3", "avg_pool_3x3"],
    "skip_connect": ["skip_connect"],
    "sep_conv_3x3": ["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"],
}


def test_what_follows_from_a_choice_is_handed_over_as_well():
    """Representatives of groups in the first search, members of the best group of each edge in the second."""
    whole = StagedSearch(({}, {"model.space.num_cells": 4}), BestGroup(GROUPS))
    assert whole.outline()[1].changes == {"model.space.num_cells": 4}  # what can be told beforehand
    edges = tuple(
        EdgeCandidates(0, target, ("none", *GROUPS), values)
        for target, values in ((1, (0.7, 0.1, 0.05, 0.15)), (2, (0.1, 0.2, 0.4, 0.3)))
    )
    found = Found("stage1", Path("stage1"), {}, None, Candidates("darts", {"normal": edges}), {}, {}, None)
    proposed = whole.propose(History((found,)))
    assert proposed.takes == {}
    assert proposed.changes["model.space.num_cells"] == 4
    assert proposed.changes["model.space.candidates"] == {
        "normal": [["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "none"], ["skip_connect", "none"]]
    }


@pytest.mark.slow
def test_a_choice_is_searched(tmp_path):
    rule = {"class_path": "tests.jobs.grouping.BestGroup", "init_args": {"groups": GROUPS}}
    stages = [{"model.space.num_cells": 3, "model.space.operations": ["none", *GROUPS]}, {"model.space.num_cells": 4}]
    assert main(["run", "-c", staged(tmp_path, stages, rule)]) == 0
    first, second = (load_candidates(tmp_path / "job" / name / "candidates.json") for name in NAMES[:2])
    chosen = set()
    for name, edges in first.cells.items():
        for before, after in zip(edges, second.cells[name], strict=True):
            values = dict(zip(before.operations[1:], before.probabilities[1:], strict=True))
            chosen.add(best := max(values, key=values.get))
            assert before.operations == ("none", *GROUPS)
            assert set(after.operations) == {"none", *GROUPS[best]}
    assert len(chosen) > 1


def test_proposals_follow_from_the_history_alone():
    whole = StagedSearch(STAGES)
    assert [stage.name for stage in whole.outline()] == list(NAMES)
    found = [Found(name, Path(name), {}, None, None, {}, {}, None) for name in NAMES]
    for count in range(3):
        assert whole.propose(History(tuple(found[:count]))) == whole.outline()[count]
    assert whole.propose(History(tuple(found))) is None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folder of a longer job that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(["run", "-c", staged(folder, trainer={"max_epochs": 6})]) == 0
    return folder / "job"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("whom", ["stage", "job"])
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_stage_in_a_process_of_its_own_may_be_killed(stage, whom, undisturbed, tmp_path):
    config = staged(tmp_path, trainer={"max_epochs": 6}, executor={"class_path": "Processes"})
    folder = tmp_path / "job"
    with (tmp_path / "log.txt").open("wb") as log:
        process = start(config, log)
        wait_for(folder / stage / "genotypes" / "epoch-0002.json", process)
        victim = process.pid
        if whom == "stage":
            victim = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]).split()[0])
        os.kill(victim, signal.SIGKILL)
        assert process.wait(120) == (137 if whom == "stage" else -signal.SIGKILL)
        assert not (folder / stage / "candidates.json").exists()
        assert start(config, log).wait(240) == 0
    assert differences(state(undisturbed), state(folder)) == []
