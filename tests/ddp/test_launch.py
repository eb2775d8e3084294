"""Searches over two processes as torchrun and SLURM start them: launched, interrupted, continued."""

import socket

import pytest
import torch
import yaml

from tests.support.resume_job import differences, final_state, run_once, run_ranks, write_config
from tests.support.tiny import TINY

RANKS = 2
SLOW = pytest.mark.slow


def environments(launcher):
    """The variables that a launcher gives to each process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if launcher == "torchrun":
        common |= {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
        return [{**common, "RANK": str(r), "LOCAL_RANK": str(r), "GROUP_RANK": "0"} for r in range(RANKS)]
    common |= {"SLURM_NTASKS": str(RANKS), "SLURM_NTASKS_PER_NODE": str(RANKS), "SLURM_JOB_ID": "17"}
    common |= {"SLURM_JOB_NAME": "search", "SLURM_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    return [{**common, "SLURM_PROCID": str(r), "SLURM_LOCALID": str(r)} for r in range(RANKS)]


def fit(config, folder, launcher="torchrun", bomb="", at=0, last=False, engine="Fused", sync=False, precision=32):
    arguments = [
        "fit", "-c", str(config), "--trainer.default_root_dir", str(folder), "--trainer.devices", str(RANKS),
        "--trainer.strategy", "ddp", "--model.engine", engine, "--trainer.sync_batchnorm", str(sync).lower(),
        "--trainer.precision", f"{precision}-true",
    ]  # fmt: skip
    return run_ranks([*arguments, *(["--ckpt_path", "last"] if last else [])], environments(launcher), bomb, at)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of the uninterrupted run of each method on two processes."""

    def start(name, folder, to):
        return fit(write_config(name, folder / "in.yaml"), to) == [0] * RANKS

    return run_once(tmp_path_factory, start)


CASES = [
    ("SIGTERM", 5, 143, 6),
    ("SIGINT", 5, 130, 6),
    ("SIGUSR1", 2, 143, 9),
    ("SIGKILL", 7, -9, 6),
    ("exception", 8, 1, 4),
]


@pytest.mark.parametrize(
    ("name", "bomb", "at", "status", "rest"),
    [
        pytest.param(name, *case, id=f"{name}-{case[0]}", marks=() if (name, case[0]) == first else SLOW)
        for first in [(next(iter(TINY)), "SIGTERM")]
        for name in TINY
        for case in CASES
    ],
)
def test_two_processes_continue_bit_identically(name, bomb, at, status, rest, whole, tmp_path):
    expected = final_state(whole(name))
    config = write_config(name, tmp_path / "in.yaml")
    left = fit(config, tmp_path / "run", bomb=bomb, at=at)
    assert left[0] == status
    assert left[1] == (status if status in (130, 143) else 1)  # leaves together, or loses its partner
    assert fit(config, tmp_path / "run", last=True) == [0] * RANKS
    assert [int((tmp_path / "run" / f"steps{rank}.txt").read_text()) for rank in range(RANKS)] == [rest] * RANKS
    assert differences(expected, final_state(tmp_path / "run")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_slurm_and_the_other_engine_find_the_same(name, whole, tmp_path):
    config = write_config(name, tmp_path / "in.yaml")
    assert fit(config, tmp_path / "slurm", launcher="slurm") == [0] * RANKS
    assert differences(final_state(whole(name)), final_state(tmp_path / "slurm")) == []
    found = []
    for engine in ("Fused", "Reference"):
        assert fit(config, tmp_path / engine, engine=engine, precision=64) == [0] * RANKS
        found.append(final_state(tmp_path / engine)["checkpoint"]["state_dict"])
    for key, value in found[0].items():
        if key.startswith("architecture.logits"):
            torch.testing.assert_close(value, found[1][key], rtol=0, atol=1e-6)  # Adam divides small gradients


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DARTS-first-order", "DARTS-second-order-exact"])
def test_a_search_with_synchronised_norms_continues_bit_identically(name, tmp_path):
    config = write_config(name, tmp_path / "in.yaml")
    assert fit(config, tmp_path / "whole", sync=True) == [0] * RANKS
    assert fit(config, tmp_path / "part", bomb="SIGTERM", at=5, sync=True) == [143] * RANKS
    assert fit(config, tmp_path / "part", last=True, sync=True) == [0] * RANKS
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "part")) == []


@pytest.mark.slow
def test_a_job_on_two_processes_searches_and_retrains(tmp_path):
    """Every process waits for the genotype that the first one writes."""
    config = yaml.safe_load(write_config("DARTS-first-order", tmp_path / "in.yaml").read_text())
    trainer = {**config.pop("trainer"), "devices": RANKS, "strategy": "ddp", "max_epochs": 1, "callbacks": None}
    config.pop("seed_everything")
    small = {"init_channels": 2, "num_cells": 3, "optim": {"auxiliary_weight": 0.0}}
    retrain = {"model": {"class_path": "RetrainModule", "init_args": small}}
    job = {"trainer": trainer, "data": config.pop("data"), "search": config, "retrain": retrain}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    arguments = ["run", "-c", str(tmp_path / "job.yaml"), "--folder", str(tmp_path / "job")]
    assert run_ranks(arguments, environments("torchrun")) == [0] * RANKS
    assert (tmp_path / "job" / "results.json").exists()
