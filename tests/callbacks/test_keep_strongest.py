"""What a search leaves to the next one."""

import pytest
import torch
from pytorch_lightning import Callback

from lit_nas.callbacks import KeepStrongest, Prune
from lit_nas.callbacks.keep_strongest import strongest
from lit_nas.methods import DARTS
from lit_nas.pruning import Pruning
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, SPACE, TINY


def kept(values, count, mask=None):
    mask = torch.ones(1, len(values), dtype=torch.bool) if mask is None else torch.tensor([mask])
    (row,) = strongest(torch.tensor([values], dtype=torch.float64), mask, count).tolist()
    return [column for column, stays in enumerate(row) if stays]


def test_the_weakest_go_and_of_equals_the_first():
    values = [0.4, 0.05, 0.05, 0.2, 0.1, 0.1, 0.06, 0.04]
    assert kept(values, 5) == [0, 3, 4, 5, 6]  # the fifth dilated convolution and both pools are dropped
    assert kept(values, 7) == [0, 1, 2, 3, 4, 5, 6]
    assert kept(values, 6) == [0, 2, 3, 4, 5, 6]  # of both pools the first one goes
    assert kept([0.25] * 4, 1) == [3]
    assert kept(values, 9) == list(range(8))


def test_only_active_candidates_count():
    assert kept([0.0, 0.5, 0.2, 0.3], 2, [False, True, True, True]) == [1, 3]
    assert kept([0.0, 0.5, 0.2, 0.3], 3, [False, True, False, False]) == [1]
    assert kept([0.0, 0.0], 1, [False, False]) == []


@pytest.mark.parametrize("name", ["DARTS-first-order", "DARTS-staged", "DARTS-nas-bench-201"])
def test_it_prunes_after_the_last_epoch_alone(name, tmp_path):
    module, seen = TINY[name](), []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(pl_module.architecture.pruned)

    before = {cell: module.architecture.active(cell) for cell in module.architecture.cells}
    fit(module, tmp_path, epochs=2, callbacks=[KeepStrongest(2), Watch()])
    assert seen == [False] * 4
    probabilities = module.architecture.relaxation  # those that it chose by are those before the mask
    for cell, space in module.architecture.cells.items():
        everything = torch.zeros(len(space.edges), len(space.operations), dtype=torch.bool)
        for row, columns in zip(everything, before[cell], strict=True):
            row[list(columns)] = True
        logits = module.architecture.logits[cell].detach().double()
        values = probabilities.probabilities(logits, everything, module.architecture.clock.moment())
        for edge, columns in enumerate(module.architecture.active(cell)):
            assert set(columns) == set(sorted(before[cell][edge], key=lambda o: float(values[edge, o]))[-2:])


def test_it_goes_with_pruning_on_the_way(tmp_path):
    module = DARTS(INPUTS, SPACE)
    fit(module, tmp_path, callbacks=[Prune(Pruning(threshold=0.1249)), KeepStrongest(3)])
    assert all(len(columns) <= 3 for cell in SPACE.cells for columns in module.architecture.active(cell))


def test_something_must_stay():
    with pytest.raises(ValueError, match=r"KeepStrongest\.count must be at least 1, not 0"):
        KeepStrongest(0)
    assert KeepStrongest(4).record() == {"count": 4}
