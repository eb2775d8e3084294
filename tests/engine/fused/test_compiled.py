"""Compiled candidates: equal to the others, without a graph break, and not compiled again by pruning."""

import pytest
import torch

from lit_nas.engine import Fused, Reference
from tests.engine.test_equality import EDGES, assert_equal, everything, make_cell, results


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batched", [False, True])
def test_compiled_candidates(batched):
    counters = torch._dynamo.utils.counters
    engine, cell = Fused(compile=True, batch_edges=batched), make_cell(operations=("skip_connect", "sep_conv_3x3"))
    counters.clear()
    for level in ("arch", "weights"):
        expected = results(Reference(), cell, everything(cell), level=level)
        assert_equal(results(engine, cell, everything(cell), level=level), expected, 1e-10)
    graphs = counters["stats"]["unique_graphs"]
    assert not counters["graph_break"]
    if not batched:
        assert graphs == 2  # one a level, for all edges
        pruned = tuple((1,) if target == 3 else (0,) for _, target in EDGES)
        expected = results(Reference(), cell, pruned, level="arch")
        assert_equal(results(engine, cell, pruned, level="arch"), expected, 1e-10)
        assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_candidates_under_autocast():
    cell = make_cell(operations=("skip_connect", "sep_conv_3x3", "dil_conv_3x3"), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = results(Fused(compile=True), cell, everything(cell))
        expected = results(Fused(), cell, everything(cell))
    assert_equal(found, expected, 0.05)
