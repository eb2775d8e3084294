"""A run that is interrupted and continued ends as one that was not: bit-identical, for every method of `TINY`."""

import shlex

import pytest

from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.resume_job import differences, final_state, run, run_once, write_config
from tests.support.tiny import REPRESENTATIVES, TINY


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Folder of the uninterrupted run of each method, made when it is first asked for."""

    def start(name, folder, to):
        config = write_config(name, folder / "in.yaml")
        return run(["fit", "-c", str(config), "--trainer.default_root_dir", str(to)]) == 0

    return run_once(tmp_path_factory, start)


CASES = [  # what happens, when, the exit status, and the steps that the continued process has to do
    ("exception", 6, 1, 6),  # in the middle of an epoch
    ("exception", 8, 1, 4),  # in the first step of an epoch: continues from the end of the one before
    ("SIGINT", 5, 130, 6),
    ("SIGINT twice", 5, 130, 8),  # ends within the step, so continues from the end of the epoch before
    ("SIGTERM", 5, 143, 6),
    ("SIGTERM", 7, 143, 4),  # in the last step of an epoch
    ("SIGUSR1", 2, 143, 9),
    ("SIGKILL", 7, -9, 6),
    ("SIGKILL while writing", 3, -9, 6),
    ("SIGKILL between names", 3, -9, 6),
]
KILLED, TERMINATED = ("SIGKILL", 7), ("SIGTERM", 5)
"""Cases of the default run, the second one of a few searches only; the others are slow by their number."""
TERMINATED_ALWAYS = ("DARTS-first-order",)
ALIKE = (
    *("DARTS-second-order", "DARTS-nas-bench-201", "EntmaxDARTS", "PCDARTS", "MergeNAS", "StacNAS"),  # as DARTS
    *("SNAS", "DropNAS"),  # as GDAS
)
"""Searches that draw and keep nothing that others do not: the default run kills one of each other kind."""
DEFAULT = {
    *((name, *KILLED) for name in REPRESENTATIVES if name not in ALIKE),
    *((name, *TERMINATED) for name in TERMINATED_ALWAYS),
}
RESUMES = [
    pytest.param(
        name,
        *case,
        marks=() if (name, *case[:2]) in DEFAULT else pytest.mark.slow,
        id=f"{name}-{case[0]}-{case[1]}",
    )
    for name in TINY
    for case in CASES
]


def interrupted(name, tmp_path, bomb, at, status, rest):
    config = write_config(name, tmp_path / "in.yaml")
    arguments = ["fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]
    assert run(arguments, bomb, at) == status
    assert not (tmp_path / "run" / "genotype.json").exists()  # it did not finish
    assert run([*arguments, "--ckpt_path", "last"]) == 0
    assert int((tmp_path / "run" / "steps.txt").read_text()) == rest
    return final_state(tmp_path / "run")


@pytest.mark.parametrize(("name", "bomb", "at", "status", "rest"), RESUMES)
def test_resume_is_bit_identical(name, bomb, at, status, rest, whole, tmp_path):
    expected = final_state(whole(name))
    assert differences(expected, interrupted(name, tmp_path, bomb, at, status, rest)) == []


@pytest.mark.slow  # PCDARTS has weighted edges that see a part of the channels
@pytest.mark.parametrize("name", EDGE_SEARCHES)
def test_resume_is_bit_identical_on_every_kind_of_edge(name, whole, tmp_path):
    expected = final_state(whole(name))
    assert differences(expected, interrupted(name, tmp_path, "SIGTERM", 5, 143, 6)) == []


def test_the_printed_command_continues_the_run(whole, tmp_path):
    name = "DARTS-first-order"
    config, log = write_config(name, tmp_path / "in.yaml"), tmp_path / "log.txt"
    arguments = ["fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path / "run"), "--ckpt_path", "last"]
    assert run(arguments, "SIGINT", 5, {"LOG": str(log)}) == 130
    printed = log.read_text().splitlines()
    (said,) = [line for line in printed if line.startswith("Saved: ")]
    assert said == f"Saved: {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"
    (command,) = [line.strip() for line in printed if line.startswith("  lit-nas fit ")]
    assert shlex.split(command) == ["lit-nas", *arguments]
    assert "Stopped in epoch 1 after 2 batches." in printed
    assert run(shlex.split(command)[1:]) == 0
    assert int((tmp_path / "run" / "steps.txt").read_text()) == 6
    assert differences(final_state(whole(name)), final_state(tmp_path / "run")) == []


def test_a_second_interruption_does_not_wait(whole, tmp_path):
    name = "DARTS-first-order"
    expected = final_state(whole(name))
    assert differences(expected, interrupted(name, tmp_path, "SIGINT twice", 5, 130, 8)) == []
