"""Stages, candidates, the loop and the choice of a job, without any training."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.cli import main
from lit_nas.jobs import (
    Candidates,
    EdgeCandidates,
    FileOf,
    Group,
    History,
    InThisProcess,
    Job,
    Order,
    Processes,
    SearchThenRetrain,
    Stage,
    WeightsOf,
    advance,
    load_candidates,
    look_ahead,
)
from lit_nas.jobs.executor import read_order
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace
from tests.cli.test_run import job


def test_candidates_survive_their_file(tmp_path):
    architecture = Architecture(DartsSpace(nodes=2, operations=("none", "skip_connect", "sep_conv_3x3")), Softmax())
    keep = torch.ones(5, 3, dtype=torch.bool)
    keep[0, 1], keep[4] = False, False
    architecture.prune("normal", keep)
    Candidates.of(architecture).save(tmp_path / "candidates.json")
    found = load_candidates(tmp_path / "candidates.json")
    assert found == Candidates.of(architecture)
    assert found.cells["normal"][0].operations == ("none", "sep_conv_3x3")
    expected = architecture.probabilities()["normal"][0]
    assert found.cells["normal"][0].probabilities == (float(expected[0]), float(expected[2]))
    assert found.cells["normal"][4].operations == ()
    assert [(edge.source, edge.target) for edge in found.cells["reduce"]] == [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "its format is not"),
        ({"version": 2}, "its version is 2"),
        ({"cells": {"normal": [{"source": 0, "target": 2, "operations": ["conv_0"], "probabilities": [1]}]}}, "conv_0"),
        ({"cells": {"normal": [{"source": 2, "target": 2, "operations": [], "probabilities": []}]}}, "point forward"),
        (
            {"cells": {"normal": [{"source": 0, "target": 2, "operations": ["none"], "probabilities": []}]}},
            "has 1 operations, but 0 numbers",
        ),
        (
            {"cells": {"normal": [{"source": 0, "target": 2, "operations": ["none"] * 2, "probabilities": [0, 1]}]}},
            "names an operation twice",
        ),
        ({"cells": {"normal": [{"source": 0, "target": 2, "operations": [], "probabilities": []}] * 2}}, "edge twice"),
        ({"cells": {"normal": [{"source": 0}]}}, "missing"),
        ({"cells": None}, "not a file of candidates"),
    ],
)
def test_damaged_candidates_are_refused(change, message, tmp_path):
    content = {"format": "lit-nas candidates", "version": 1, "space": "darts", "cells": {}}
    (tmp_path / "candidates.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=message):
        load_candidates(tmp_path / "candidates.json")
    with pytest.raises(FileNotFoundError, match="no file of candidates"):
        load_candidates(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stage("a/b", "search", "search"), "cannot be the name of a stage"),
        (lambda: Stage("search-1", "search", "search"), "cannot be the name of a stage"),
        (lambda: Stage("search", "search", "table"), "kind of stage `search` is 'table'"),
        (lambda: Stage("search", "search", "search", {"ckpt_path": "x"}), "sets ckpt_path"),
        (lambda: FileOf("search", "notes.txt"), "not 'notes.txt'"),
        (lambda: Group(()), "needs stages with different names"),
        (lambda: Group((Stage("a", "search", "search"),) * 2), "different names"),
        (lambda: Processes(0), "executor.parallel must be at least 1"),
        (lambda: EdgeCandidates(1, 1, (), ()), "point forward"),
    ],
)
def test_parts_refuse_what_cannot_work(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_order_survives_its_file(tmp_path):
    stage = Stage(
        "b",
        "retrain",
        "retrain",
        {"trainer.max_epochs": 2},
        {"model.genotype": FileOf("a")},
        "a",
        WeightsOf("a", True),
        ("file.yaml", "trainer: {}"),
    )
    assert stage.files == (FileOf("a"), FileOf("a", "checkpoints/last.ckpt"))
    order = Order(stage, tmp_path / "b", ("--config", "x: 1"))
    order.save(tmp_path / "stage.json")
    assert read_order(tmp_path / "stage.json") == order
    assert stage.words() == ("--trainer.max_epochs", "2")
    assert stage.taken_words(tmp_path) == ("--model.genotype", str(tmp_path / "a" / "genotype.json"))


@dataclass(frozen=True)
class Listed(Job):
    """Proposes what it is given, by the number of finished stages."""

    proposals: tuple

    def propose(self, history):
        """The proposal whose turn it is."""
        return self.proposals[len(history)] if len(history) < len(self.proposals) else None


def go(proposals, folder, fit):
    told = []
    advance(
        Listed(tuple(proposals)), folder, lambda stage: Order(stage, folder / stage.name, ()), InThisProcess(), fit,
        lambda stage, before: told.append((stage.name, before)),
    )  # fmt: skip
    return told


def leave(order):
    order.folder.mkdir(parents=True, exist_ok=True)
    (order.folder / order.stage.result).write_text('{"test/accuracy": 0.5}')


def test_finished_stages_are_not_repeated_and_proposals_are_checked(tmp_path):
    a, b = (Stage(name, "retrain", "retrain") for name in "ab")
    group = Group((a, b))
    leave(Order(a, tmp_path / "a", ()))
    assert go([group], tmp_path, leave) == [("a", True), ("b", False)]
    assert go([group], tmp_path, pytest.fail) == [("a", True), ("b", True)]
    with pytest.raises(ValueError, match="proposes the stage `a`, which is finished, again"):
        go([a, a], tmp_path, leave)
    with pytest.raises(ValueError, match=r"takes genotype\.json of `z`, which is not finished before it"):
        go([Stage("c", "retrain", "retrain", takes={"model.genotype": FileOf("z")})], tmp_path, leave)
    with pytest.raises(FileNotFoundError, match=r"The stage `a` has left no candidates\.json"):
        go([a, Stage("c", "retrain", "retrain", takes={"x": FileOf("a", "candidates.json")})], tmp_path, leave)
    with pytest.raises(ValueError, match=r"The stage `d` ended without test\.json"):
        go([Stage("d", "retrain", "retrain")], tmp_path, lambda order: None)
    with pytest.raises(TypeError, match="must propose a Stage, a Group or None"):
        go(["a"], tmp_path, leave)


def names(proposals):
    return [[stage.name for stage in proposal] for proposal in proposals]


def test_what_can_be_told_ahead(tmp_path):
    assert names(look_ahead(SearchThenRetrain(), tmp_path)) == [["search"], ["retrain"]]
    group = Group(tuple(Stage(name, "retrain", "retrain") for name in "bc"))
    told = Listed((Stage("a", "retrain", "retrain"), group))
    assert names(look_ahead(told, tmp_path)) == [["a"]]
    leave(Order(told.proposals[0], tmp_path / "a", ()))
    assert names(look_ahead(told, tmp_path)) == [["a"], ["b", "c"]]
    (tmp_path / "a" / "test.json").write_text("{ damaged")
    with pytest.raises(ValueError, match=r"The stage `a` has a damaged file: .* Do it again with --redo a"):
        look_ahead(told, tmp_path)
    assert names(look_ahead(told, tmp_path, redo="a")) == [["a"]]
    assert SearchThenRetrain().propose(History()).name == "search"


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"job": "SearchThenRetrian"}, "There is no job 'SearchThenRetrian' (did you mean `SearchThenRetrain`?)"),
        (
            {"job": {"class_path": "SearchThenRetrain", "init_args": {"kep": 1}}},
            "job.kep is unknown. SearchThenRetrain",
        ),
        ({"job": {"class_path": "tests.jobs.halving.Halving", "init_args": {"kep": 1}}}, "(did you mean `keep`?)"),
        ({"job": {"class_path": "tests.jobs.absent.Job"}}, "There is no class 'tests.jobs.absent.Job'"),
        ({"job": {"class_path": "lit_nas.methods.DARTS"}}, "`job` is lit_nas.methods.DARTS, which is no Job."),
        ({"job": {"class": "x"}}, "`job` must have a class_path"),
        ({"job": {"class_path": "SearchThenRetrain", "args": {}}}, "`job` has the key args"),
        ({"executor": {"class_path": "Processes", "init_args": {"parallel": 0}}}, "executor.parallel must be at"),
        ({"executor": "Slurm"}, "There is no executor 'Slurm'. Known are InThisProcess, Processes"),
    ],
)
def test_a_job_that_cannot_be_made_is_refused_in_one_sentence(top, message, tmp_path, capsys):
    assert main(["run", "-c", job(tmp_path, **top)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_a_job_of_the_users_own_lies_in_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    lines = ["from dataclasses import dataclass", "from lit_nas.jobs import Job, Stage", "", "@dataclass(frozen=True)"]
    lines += ["class Once(Job):", "    def propose(self, history):"]
    lines += ["        return None if len(history) else Stage('only', 'search', 'search')"]
    Path("my_own_job.py").write_text("\n".join(lines) + "\n")
    assert main(["run", "-c", job(tmp_path, job={"class_path": "my_own_job.Once"}), "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert "class_path: my_own_job.Once" in printed
    assert "\nonly:\n" in printed


PROGRAM = """
import pathlib, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
pathlib.Path(sys.argv[2]).with_name("ready").touch()
until = time.monotonic() + 20
while not told and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(0.3)
sys.exit(len(told) + 40)
"""


@pytest.fixture
def stage_that_waits(tmp_path, monkeypatch):
    """An order whose process is a program that waits for a signal, and says by its status how often it heard one."""
    (tmp_path / "lit_nas").mkdir()
    (tmp_path / "lit_nas" / "__init__.py").touch()
    (tmp_path / "lit_nas" / "__main__.py").write_text(PROGRAM)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)  # `python -m` looks there first
    return Order(Stage("a", "search", "search"), tmp_path / "a", ())


def wait_until_ready(order):
    deadline = time.monotonic() + 60
    while not (order.folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_signals_reach_the_stage_and_its_status_becomes_that_of_the_job(stage_that_waits):
    def interrupt():
        wait_until_ready(stage_that_waits)
        os.kill(os.getpid(), signal.SIGTERM)

    thread, begun = threading.Thread(target=interrupt), []
    thread.start()
    with pytest.raises(SystemExit) as stop:
        Processes(parallel=2).run([stage_that_waits], pytest.fail, begun.append)
    thread.join()
    assert begun == [stage_that_waits]
    assert stop.value.code == 41
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_arrives_while_a_process_starts_reaches_it(stage_that_waits, monkeypatch):
    start = subprocess.Popen

    def interrupted(*args, **kwargs):
        process = start(*args, **kwargs)
        wait_until_ready(stage_that_waits)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)  # the handler has run, and knows nothing of the process yet
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(SystemExit) as stop:
        Processes().run([stage_that_waits], pytest.fail, lambda order: None)
    assert stop.value.code == 41


def test_a_signal_before_a_process_starts_keeps_it_from_starting(stage_that_waits):
    with pytest.raises(SystemExit) as stop:
        Processes().run([stage_that_waits], pytest.fail, lambda order: os.kill(os.getpid(), signal.SIGTERM))
    assert stop.value.code == 143
    assert not (stage_that_waits.folder / "stage.json").exists()
