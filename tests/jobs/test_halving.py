"""A job of several searches and a group: handed-over files, groups, refusals, and continuing after any death."""

import json
import os
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
from lit_nas.search import SearchModule
from tests.cli.test_run import job

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


class Died(BaseException):
    """Stands for the end of the process: nothing tidies up after it."""


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_job_that_dies_in_or_between_stages_goes_on_exactly(at, whole, tmp_path, monkeypatch):
    """Step 1 lies within the first search; with 2 it dies at the start of the second one, and so on."""
    config, steps = job(tmp_path, job=HALVING), []
    from lit_nas.module import RecordedModule

    with monkeypatch.context() as patch:

        def counted(self, batch, batch_idx, start=RecordedModule.on_train_batch_start):
            if len(steps) == at:
                raise Died
            steps.append(batch_idx)
            return start(self, batch, batch_idx)

        patch.setattr(RecordedModule, "on_train_batch_start", counted)
        with pytest.raises(Died):
            main(["run", "-c", config])
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "job").glob("*/checkpoints/last.ckpt")}
    finished = [path for path in done if any((path.parent.parent / name).exists() for name in ("test.json",))]
    assert main(["run", "-c", config]) == 0
    assert state(tmp_path / "job") == state(whole)
    for path in finished:
        assert path.stat().st_mtime_ns == done[path]
