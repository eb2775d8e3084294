"""A job of several searches and a group: handed-over files, groups, refusals, and continuing after any death."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.jobs import load_candidates
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchModule
from tests.cli.test_run import job
from tests.support.mortal_job import Died

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
HALVING = {"class_path": "tests.jobs.halving.Halving", "init_args": {"keep": 3}}
STAGES = ("first", "second", "seed1", "seed2")


def state(folder):
    """What a job has found: the genotypes, the scores, and all weights."""
    found = {}
    for name in STAGES:
        checkpoint = torch.load(folder / name / "checkpoints" / "last.ckpt", weights_only=True)
        found[name] = {key: value.tolist() for key, value in checkpoint["state_dict"].items()}
        for file in ("genotype.json", "candidates.json", "test.json"):
            if (folder / name / file).exists():
                content = json.loads((folder / name / file).read_text())
                found[f"{name}/{file}"] = {key: content[key] for key in content if key != "meta"}
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an undisturbed job finds."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["run", "-c", job(folder, job=HALVING)]) == 0
    return folder / "job"


def test_stages_hand_over_what_they_found(whole):
    results = json.loads((whole / "results.json").read_text())
    assert list(results["stages"]) == list(STAGES)
    first, second = (load_candidates(whole / name / "candidates.json") for name in ("first", "second"))
    assert all(len(edge.operations) == 8 for edges in first.cells.values() for edge in edges)
    weights = {}
    for edges in first.cells.values():
        for edge in edges:
            assert sum(edge.probabilities) == pytest.approx(1.0)
            for operation, weight in zip(edge.operations, edge.probabilities, strict=True):
                weights[operation] = weights.get(operation, 0) + weight
    best = set(sorted(weights, key=lambda name: (-weights[name], name))[:3])
    assert all(set(edge.operations) == best for edges in second.cells.values() for edge in edges)
    genotype = json.loads((whole / "second" / "genotype.json").read_text())
    for seed in (1, 2):
        config = yaml.safe_load((whole / f"seed{seed}" / "config.yaml").read_text())
        assert config["seed_everything"] == seed
        checkpoint = torch.load(whole / f"seed{seed}" / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["lit_nas"]["init_args"]["genotype"]["cells"] == genotype["cells"]
    assert state(whole)["seed1"] != state(whole)["seed2"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "at", [2, pytest.param(5, marks=SLOW), pytest.param(1, marks=SLOW), pytest.param(3, marks=SLOW)]
)
def test_a_job_that_dies_in_or_between_stages_goes_on_exactly(at, whole, tmp_path, monkeypatch):
    """Each stage has two steps: 1 lies within the first search, 2 between both searches, 5 within the group."""
    config, steps = job(tmp_path, job=HALVING), []

    def counted(owner):
        start = owner.on_train_batch_start

        def on_train_batch_start(self, batch, batch_idx):
            if len(steps) == at:
                raise Died
            steps.append(batch_idx)
            return start(self, batch, batch_idx)

        return on_train_batch_start

    with monkeypatch.context() as patch:
        for owner in (SearchModule, RetrainModule):
            patch.setattr(owner, "on_train_batch_start", counted(owner))
        with pytest.raises(Died):
            main(["run", "-c", config])
    folder = tmp_path / "job"
    assert [name for name in STAGES if (folder / name / "cost.json").exists()] == list(STAGES[: at // 2])
    before = {name: (folder / name / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name in STAGES[: at // 2]}
    assert main(["run", "-c", config]) == 0
    assert state(folder) == state(whole)
    for name, stamp in before.items():
        assert (folder / name / "checkpoints" / "last.ckpt").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_a_changed_configuration_of_a_stage_or_of_the_job_is_refused_by_its_key(whole, tmp_path, capsys):
    copied = tmp_path / "job"
    shutil.copytree(whole, copied)
    other = {**HALVING, "init_args": {"keep": 2}}
    assert main(["run", "-c", job(tmp_path, job=other)]) == 2
    assert "holds another job: job.keep: 3 -> 2." in capsys.readouterr().err
    assert main(["run", "-c", job(tmp_path)]) == 2
    assert "'tests.jobs.halving.Halving' -> 'lit_nas.jobs.SearchThenRetrain'" in capsys.readouterr().err
    assert main(["run", "-c", job(tmp_path, job=HALVING), "--search.trainer.max_epochs", "3"]) == 2
    assert "/first' holds a stage of another configuration: trainer.max_epochs: 1 -> 3." in capsys.readouterr().err
    assert main(["run", "-c", job(tmp_path, job=HALVING), "--redo", "third"]) == 2
    assert "no such stage yet. It has first, second, seed1, seed2." in capsys.readouterr().err
    assert state(copied) == state(whole)


def test_a_file_that_a_stage_needs_is_read_before_it_starts(whole, tmp_path, capsys):
    folder = tmp_path / "job"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "seed2")
    (folder / "second" / "candidates.json").write_text("{}")
    assert main(["run", "-c", job(tmp_path, job=HALVING)]) == 2
    assert "candidates.json' is not a file of candidates: its format is not" in capsys.readouterr().err
    assert not (folder / "seed2").exists()


@pytest.mark.slow
def test_a_stage_with_damaged_files_is_done_again_with_all_that_was_proposed_after_it(whole, tmp_path, capsys):
    folder, config = tmp_path / "job", job(tmp_path, job=HALVING)
    shutil.copytree(whole, folder)
    (folder / "second-notes").mkdir()  # somebody's own
    (folder / "first" / "candidates.json").write_text("{ damaged")
    assert main(["run", "-c", config]) == 2
    error = capsys.readouterr().err
    assert "The stage `first` has a damaged file" in error
    assert "Do it again with --redo first" in error
    (folder / "second" / "genotype.json").write_text("{ damaged")
    assert main(["run", "-c", config, "--redo", "first"]) == 0
    assert {entry.name for entry in folder.iterdir() if entry.is_dir()} == {
        "second-notes", *STAGES, *(f"{stage}-1" for stage in STAGES),
    }  # fmt: skip
    assert state(folder) == state(whole)


def test_members_of_a_group_do_not_depend_on_each_other(whole, tmp_path):
    folder, config = tmp_path / "job", job(tmp_path, job=HALVING)
    shutil.copytree(whole, folder)
    for seed in ("seed1", "seed2"):
        written = folder / seed / "config.yaml"
        written.write_text(written.read_text().replace(str(whole), str(folder)))
    before = (folder / "seed2" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert main(["run", "-c", config, "--redo", "seed1"]) == 0
    assert (folder / "seed1-1").exists()
    assert not (folder / "seed2-1").exists()
    assert (folder / "seed2" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert state(folder) == state(whole)


def start(config, log):
    """The job, each stage in a process of its own."""
    command = [sys.executable, "-m", "lit_nas", "run", "-c", config]
    return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(path, process):
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, "the job has ended"
        time.sleep(0.05)
    raise AssertionError(f"{path} does not come")


def longer(folder):
    """The section of a search that takes long enough to be killed in its midst."""
    section = yaml.safe_load(Path(job(folder)).read_text())["search"]
    return {**section, "trainer": {**section["trainer"], "max_epochs": 12}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folder of the job that nobody kills, in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(["run", "-c", job(folder, search=longer(folder))]) == 0
    return folder / "job"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "whom", "status"),
    [
        (signal.SIGKILL, "stage", 137),
        (signal.SIGKILL, "job", -signal.SIGKILL),
        (signal.SIGTERM, "job", 143),
        (signal.SIGINT, "job", 130),
    ],
)
def test_a_stage_in_a_process_of_its_own_may_be_killed(number, whom, status, undisturbed, tmp_path):
    config = job(tmp_path, executor={"class_path": "Processes"}, search=longer(tmp_path))
    search = tmp_path / "job" / "search"
    with (tmp_path / "log.txt").open("wb") as log:
        process = start(config, log)
        wait_for(search / "genotypes" / "epoch-0002.json", process)
        victim = process.pid
        if whom == "stage":
            victim = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]).split()[0])
        os.kill(victim, number)
        assert process.wait(120) == status
        assert not (search / "genotype.json").exists()
        assert start(config, log).wait(240) == 0
    text = (tmp_path / "log.txt").read_text()
    if status in (130, 143):
        assert text.count(f"Continue with:\n  lit-nas run -c {config}\n") == 1
    if status == 137:
        assert "The process of the stage `search` was killed by SIGKILL" in text
    for stage in ("search", "retrain"):
        ours, theirs = (
            torch.load(folder / stage / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for folder in (tmp_path / "job", undisturbed)
        )
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
