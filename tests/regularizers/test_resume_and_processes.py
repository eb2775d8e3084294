"""Searches with regularisers and perturbations: continued after an interruption, and on two processes."""

import pytest

from tests.ddp.test_ddp import check
from tests.resume.test_resume import interrupted
from tests.support.resume_job import differences, final_state, run, write_config
from tests.support.tiny import VARIANTS


def each(quick):
    return [pytest.param(name, marks=() if name == quick else pytest.mark.slow) for name in VARIANTS]


@pytest.mark.parametrize("name", each("smoothed"))
def test_a_resume_is_bit_identical(name, tmp_path):
    config = write_config(name, tmp_path / "in.yaml")
    assert run(["fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path / "whole")]) == 0
    (tmp_path / "part").mkdir()
    found = interrupted(name, tmp_path / "part", "SIGKILL", 7, -9, 6)
    assert differences(final_state(tmp_path / "whole"), found) == []


@pytest.mark.parametrize("name", each("smoothed"))
def test_two_processes_equal_one(name, tmp_path):
    """Noise and regularisers are equal on both, and what multiplies the loss sees the mean of both."""
    check(name, tmp_path, 1e-9, precision="64-true")
