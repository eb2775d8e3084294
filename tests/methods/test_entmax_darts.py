"""EntmaxDARTS: what its formula makes zero is gone after the epoch, and the numbers of its configurations."""

import pytest
import torch

from lit_nas.methods import EntmaxDARTS
from lit_nas.pruning import Pruning
from lit_nas.relaxations import Entmax
from lit_nas.search import SearchOptim
from tests.methods.test_contract import fit
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, SPACE

SPARSE = {  # section 4 of the paper: 200 epochs, all else as DARTS
    **DARTS_SEARCH,
    "trainer.max_epochs": 200,
    "model.pruning": {"threshold": 0.0, "every": "epoch", "from_epoch": 0, "guard": False},
}
SINGLE = {
    "model.optim.level": "single",
    "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "all"}),
}
ALPHA = {alpha: {"model.relaxation": ("Entmax", {"alpha": alpha})} for alpha in (2.0, 3.0)}
EXPECTED = {
    "search/entmax3_single_level.yaml": {**SPARSE, **SINGLE, **ALPHA[3.0]},
    "search/entmax3_bilevel.yaml": {**SPARSE, **ALPHA[3.0]},
    "search/entmax2_single_level.yaml": {**SPARSE, **SINGLE, **ALPHA[2.0]},
    "search/entmax2_bilevel.yaml": {**SPARSE, **ALPHA[2.0]},
    "search/entmax3_single_level.yaml + layers/space/nas_bench_201.yaml": {
        **SPARSE,
        **SINGLE,
        **ALPHA[3.0],
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}


def two_entmax(logits):
    """Sparsemax by its definition: the projection of each row onto the simplex."""
    rows = []
    for row in logits.double():
        ordered = row.sort(descending=True).values
        sums = ordered.cumsum(0) - 1
        support = int((ordered > sums / torch.arange(1, len(row) + 1)).sum())
        rows.append((row - sums[support - 1] / support).clamp(min=0))
    return torch.stack(rows)


@pytest.mark.parametrize("level", ["single", "bilevel"])
def test_what_is_exactly_zero_is_pruned_after_the_epoch(level, tmp_path):
    module = EntmaxDARTS(INPUTS, SPACE, Entmax(2.0), Pruning(), SearchOptim(level=level))
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.copy_(torch.randn(logits.shape) * 0.7)
    assert all(module.architecture.mask(cell).all() for cell in SPACE.cells)
    fit(module, tmp_path, epochs=1, steps=2)
    for cell, logits in module.architecture.logits.items():
        expected = two_entmax(logits.detach()) > 0
        assert 0 < int((~expected).sum()) < expected.numel()
        assert torch.equal(module.architecture.mask(cell), expected), cell
