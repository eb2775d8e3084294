"""Two processes equal one process with the doubled batch, for every method of `TINY`."""

import pytest
import torch

from tests.ddp.job import run
from tests.methods.tiny import TINY
from tests.resume.job import differences


@pytest.mark.parametrize("name", TINY)
def test_two_processes_equal_one(name, tmp_path):
    first, second = run(name, tmp_path / "two", ranks=2, batch_size=5)
    (single,) = run(name, tmp_path / "one", ranks=1, batch_size=10)
    per_rank = ("losses", "scores")  # metrics hold the shard of their rank
    for key, value in first["module"].items():
        if not key.startswith(per_rank):
            assert torch.equal(value, second["module"][key]), key  # bit-equal ranks
    assert differences(first["optimizers"], second["optimizers"]) == []
    start = torch.load(tmp_path / "one" / "start.pt", weights_only=True)
    moved = 0.0
    for key, value in single["module"].items():
        if not key.startswith(per_rank):
            torch.testing.assert_close(first["module"][key], value, rtol=1e-5, atol=1e-5, msg=key)
        if key.startswith("architecture.logits"):
            moved = max(moved, (value - start[key]).abs().max().item())
    assert moved > 1e-4
    assert first["global_step"] == single["global_step"] == 3
