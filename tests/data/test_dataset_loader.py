"""A loader for any data set: its order, its shares, and that it continues within an epoch."""

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from lit_nas.data import DatasetLoader

ITEMS = TensorDataset(torch.arange(23), torch.arange(23) * 10)


def epoch(loader, number):
    loader.set_epoch(number)
    return [batch[0].tolist() for batch in loader]


def test_an_epoch_has_each_item_once_in_an_order_of_its_own():
    loader = DatasetLoader(ITEMS, 4)
    first, second = epoch(loader, 0), epoch(loader, 1)
    assert len(loader) == len(first) == 5  # the last, incomplete batch is dropped
    assert len({item for batch in first for item in batch}) == 20
    assert first != second
    assert epoch(DatasetLoader(ITEMS, 4), 0) == first
    assert epoch(DatasetLoader(ITEMS, 4, seed=1), 0) != first
    assert epoch(DatasetLoader(ITEMS, 4, role="arch"), 0) != first
    torch.manual_seed(7)
    state = torch.get_rng_state()
    epoch(loader, 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_continues_after_what_it_has_yielded():
    loader, again = DatasetLoader(ITEMS, 4), DatasetLoader(ITEMS, 4)
    expected = epoch(DatasetLoader(ITEMS, 4), 3)
    loader.set_epoch(3)
    batches = iter(loader)
    seen = [next(batches)[0].tolist() for _ in range(2)]
    again.load_state_dict(loader.state_dict())
    assert [*seen, *(batch[0].tolist() for batch in again)] == expected


def test_evaluation_has_all_items_in_their_order():
    assert [i for batch in epoch(DatasetLoader(ITEMS, 4, training=False), 0) for i in batch] == list(range(23))


def test_processes_share_an_epoch_and_a_short_part_starts_again():
    shares = [epoch(DatasetLoader(ITEMS, 4, ranks=(rank, 2)), 0) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    assert len({item for share in shares for batch in share for item in batch}) == 16
    assert len(epoch(DatasetLoader(ITEMS, 4, batches=9), 0)) == 9


def test_workers_and_collate_change_nothing_else():
    expected = epoch(DatasetLoader(ITEMS, 4), 0)
    loader = DatasetLoader(ITEMS, 4, collate=lambda items: (torch.stack([item[0] for item in items]),))
    assert epoch(loader, 0) == expected


@pytest.mark.slow
def test_workers_yield_the_same_batches():
    assert epoch(DatasetLoader(ITEMS, 4, workers=2), 0) == epoch(DatasetLoader(ITEMS, 4), 0)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1)


class Endless(Dataset):
    def __getitem__(self, index):
        return torch.zeros(1)


@pytest.mark.parametrize("items", [Stream(), Endless()])
def test_items_must_have_a_number(items):
    with pytest.raises(ValueError, match=f"but {type(items).__name__} has no length: hand an iterable data set"):
        DatasetLoader(items, 4)


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match=r"data.batch_size is 32 but the part 'weights' has 23"):
        DatasetLoader(ITEMS, 32)
