"""Two processes equal one process with the doubled batch, for every method of `TINY`."""

import pytest
import torch

from lit_nas.edges.shared_dag_convs import SharedDagEdge
from tests.support.ddp_job import run
from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.resume_job import differences
from tests.support.tiny import TINY, with_representatives


@pytest.mark.parametrize(
    "name", [*with_representatives(), *(pytest.param(name, marks=pytest.mark.slow) for name in EDGE_SEARCHES)]
)
def test_two_processes_equal_one(name, tmp_path):
    check(name, tmp_path, 1e-5)


QUICK = {("EntmaxDARTS", "64-true")}


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        pytest.param(name, precision, tolerance, marks=() if (name, precision) in QUICK else pytest.mark.slow)
        for name, search in (TINY | EDGE_SEARCHES).items()
        if search().optim.accumulate == 1  # parts of a shard are other batches than parts of the whole
        and getattr(search(), "skip_dropout", None) is None  # masks of a shard are others than those of the whole
        for precision, tolerance in (("32-true", 1e-5), ("64-true", 1e-12))
    ],
)
def test_two_processes_equal_one_in_training_mode(name, precision, tolerance, tmp_path):
    """With synchronised BatchNorm they do so by the statistics of the whole batch."""
    check(name, tmp_path, tolerance, precision=precision, sync_batchnorm=True)


def check(name, tmp_path, tolerance, **trainer):
    first, second = run(name, tmp_path / "two", ranks=2, batch_size=5, **trainer)
    (single,) = run(name, tmp_path / "one", ranks=1, batch_size=10, **trainer)
    per_rank = ("losses", "scores")  # metrics hold the shard of their rank
    for key, value in first["module"].items():
        if not key.startswith(per_rank):
            assert torch.equal(value, second["module"][key]), key  # bit-equal ranks
    assert differences(first["optimizers"], second["optimizers"]) == []
    start = torch.load(tmp_path / "one" / "start.pt", weights_only=True)
    moved = {"architecture.logits": 0.0, "network.": 0.0, "running_": 0.0}
    for key, value in single["module"].items():
        if not key.startswith(per_rank):
            torch.testing.assert_close(first["module"][key], value, rtol=tolerance, atol=tolerance, msg=key)
        for part in moved:
            if part in key:
                moved[part] = max(moved[part], (value - start[key]).abs().max().item())
    assert moved["architecture.logits"] > 1e-4
    assert moved["network."] > 1e-4
    if any("running_" in key for key in single["module"]):  # chains of DAGs have no BatchNorm
        assert (moved["running_"] > 1e-4) == ("sync_batchnorm" in trainer)
    assert first["global_step"] == single["global_step"] == 3
    # weights without a gradient have none on both sides: zeros would let momentum and weight decay move them
    touched = [set(side["optimizers"][0]["state"]) for side in (first, single)]
    assert touched[0] == touched[1]
    everything = set(single["optimizers"][0]["param_groups"][0]["params"])
    search = TINY[name]() if name in TINY else None
    # cells that share convolutions reach all of them within three steps
    if search and search.architecture.skips and not isinstance(search.network.cells[0].edges[0], SharedDagEdge):
        assert touched[0] < everything
