import pytest
import torch

from lit_nas.data.order import Order
from lit_nas.data.tensor_loader import RawBatch, TensorLoader


def _loader(batches=None):
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1)
    return TensorLoader(images, torch.arange(20), Order(torch.arange(20), "weights", 0, 4, batches=batches))


def _plain(batches):
    return [(batch.images.flatten().tolist(), batch.labels.tolist(), batch.seed) for batch in batches]


def test_images_and_labels_belong_together():
    loader = _loader()
    assert len(loader) == 5
    batches = list(loader)
    assert sorted(label for batch in batches for label in batch.labels.tolist()) == list(range(20))
    for batch in batches:
        assert isinstance(batch, RawBatch)
        assert batch.images.dtype == torch.uint8
        assert batch.labels.dtype == torch.int64
        assert batch.images.flatten().tolist() == batch.labels.tolist()


def test_the_epoch_may_be_named_after_iter():
    late, early = _loader(), _loader()
    iterator = iter(late)
    late.sampler.set_epoch(3)
    early.sampler.set_epoch(3)
    assert _plain(iterator) == _plain(early)
    assert _plain(_loader()) != _plain(early)


@pytest.mark.parametrize("batches", [None, 13])
@pytest.mark.parametrize("done", [1, 4, 5])
def test_a_loaded_state_continues_in_the_middle(batches, done):
    whole, broken, resumed = _loader(batches), _loader(batches), _loader(batches)
    whole.set_epoch(2)
    expected = _plain(whole)
    broken.set_epoch(2)
    iterator = iter(broken)
    first = _plain([next(iterator) for _ in range(done)])
    resumed.load_state_dict(broken.state_dict())
    iterator = iter(resumed)
    resumed.set_epoch(2)
    assert first + _plain(iterator) == expected
    # and the epochs after it are whole again
    resumed.set_epoch(3)
    whole.set_epoch(3)
    assert _plain(resumed) == _plain(whole)
    assert len(_plain(resumed)) == len(whole)


def test_a_state_of_another_epoch_is_left_behind():
    loader, fresh = _loader(), _loader()
    loader.load_state_dict({"epoch": 1, "position": 5})
    loader.set_epoch(2)
    fresh.set_epoch(2)
    assert _plain(loader) == _plain(fresh)


def test_the_state_is_plain():
    loader = _loader()
    next(iter(loader))
    assert loader.state_dict() == {"epoch": 0, "position": 1}
