import pytest
import torch

from lit_nas.data.order import Order, mix


def _epoch(order, epoch, start=0):
    return [(index.tolist(), cycle, seed) for index, cycle, seed in order.batches(epoch, start)]


def _images(order, epoch):
    return [i for index, _, _ in order.batches(epoch) for i in index.tolist()]


def test_mix_is_the_same_in_every_process_and_depends_on_each_part():
    # stored, because Python's own hash would pass any comparison within a process
    assert mix(3, "arch", 7) == 6_365_637_092_755_788_372
    values = [
        mix(3, "arch", 7),
        mix(3, "arch", 8),
        mix(4, "arch", 7),
        mix(3, "val", 7),
        mix(37, "arch"),
        mix("3", "arch", 7),
    ]
    assert len(set(values)) == len(values)
    assert all(0 <= value < 2**63 for value in values)


def test_each_image_comes_once_an_epoch_and_epochs_differ():
    order = Order(torch.arange(100, 140), "weights", 0, 8)
    assert len(order) == 5
    assert sorted(_images(order, 0)) == list(range(100, 140))
    assert sorted(_images(order, 1)) == list(range(100, 140))
    assert _images(order, 0) != _images(order, 1)
    assert _epoch(order, 3) == _epoch(order, 3)


def test_seed_and_role_decide_the_permutation_and_the_noise():
    orders = [Order(torch.arange(64), role, seed, 8) for role, seed in [("weights", 0), ("arch", 0), ("weights", 1)]]
    assert len({str(_images(order, 0)) for order in orders}) == 3
    seeds = [seed for order in orders for epoch in range(3) for _, _, seed in order.batches(epoch)]
    assert len(set(seeds)) == len(seeds)


def test_incomplete_batches_are_dropped_in_training_and_kept_in_evaluation():
    assert [len(index) for index, _, _ in Order(torch.arange(21), "weights", 0, 8).batches(0)] == [8, 8]
    evaluation = Order(torch.arange(21), "test", 0, 8, training=False)
    assert [len(index) for index, _, _ in evaluation.batches(0)] == [8, 8, 5]
    assert _images(evaluation, 0) == list(range(21))


@pytest.mark.parametrize("count", [40, 43])
def test_ranks_share_a_training_epoch(count):
    ranks = [Order(torch.arange(count), "weights", 0, 4, (rank, 3)) for rank in range(3)]
    images = [_images(order, 2) for order in ranks]
    assert [len(order) for order in ranks] == [3, 3, 3]
    assert [len(part) for part in images] == [12, 12, 12]
    assert len({i for part in images for i in part}) == 36
    seeds = [seed for order in ranks for _, _, seed in order.batches(2)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("count", [9, 16, 17, 18, 31])
def test_ranks_evaluate_each_image_once_in_equally_many_batches(count):
    ranks = [Order(torch.arange(count), "test", 0, 4, (rank, 2), training=False) for rank in range(2)]
    assert sorted(i for order in ranks for i in _images(order, 0)) == list(range(count))
    batches = [[len(index) for index, _, _ in order.batches(0)] for order in ranks]
    assert len(batches[0]) == len(batches[1]) == len(ranks[0])
    assert all(1 <= size <= 4 for part in batches for size in part)


def test_a_short_part_cycles_with_a_new_order_and_new_noise():
    order = Order(torch.arange(16), "arch", 0, 4, batches=10)
    batches = _epoch(order, 1)
    assert [cycle for _, cycle, _ in batches] == [0] * 4 + [1] * 4 + [2] * 2
    passes = [[i for index, _, _ in batches[start : start + 4] for i in index] for start in (0, 4)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(16))
    assert passes[0] != passes[1]
    assert len({seed for _, _, seed in batches}) == 10


@pytest.mark.parametrize("start", range(11))
def test_starting_later_gives_the_rest(start):
    order = Order(torch.arange(16), "arch", 0, 4, batches=10)
    assert _epoch(order, 5, start) == _epoch(order, 5)[start:]


def test_a_batch_larger_than_the_part_is_refused():
    with pytest.raises(ValueError, match=r"data\.batch_size is 64 but the part 'arch' has 40 images, which is 40"):
        Order(torch.arange(40), "arch", 0, 64)
    with pytest.raises(ValueError, match=r"20 for each of 2 processes. Use a batch_size of at most 20"):
        Order(torch.arange(40), "arch", 0, 32, (0, 2))
    with pytest.raises(ValueError, match=r"'test' has 1 images, too few for 2"):
        Order(torch.arange(1), "test", 0, 32, (0, 2), training=False)
