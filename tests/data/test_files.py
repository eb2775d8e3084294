import pytest
import torch
from PIL import Image

from lit_nas.data.files import FileLoader, ImageReader, decode_all
from lit_nas.data.order import Order


@pytest.fixture
def paths(tmp_path):
    made = []
    for i in range(12):
        pixels = torch.randint(0, 256, (20 + i, 24, 3), dtype=torch.uint8).numpy()
        made.append(tmp_path / f"{i}.{'png' if i % 2 else 'jpg'}")
        Image.fromarray(pixels).save(made[-1])
    return made


def _loader(paths, workers=0, size=4, reader=None, **order):
    reader = reader or ImageReader(3, (16, 16), random_resized_crop=True)
    return FileLoader(
        paths, torch.arange(len(paths)), reader, Order(torch.arange(len(paths)), "weights", 0, size, **order), workers
    )


def _same(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right) > 0
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.seed == other.seed


def test_workers_do_not_change_the_images(paths):
    before = torch.get_rng_state()
    _same(_loader(paths, 0, batches=5), _loader(paths, 2, batches=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_uint8_and_change_with_the_epoch(paths):
    loader = _loader(paths)
    first = list(loader)
    assert first[0].images.shape == (4, 3, 16, 16)
    assert first[0].images.dtype == torch.uint8
    loader.set_epoch(1)
    by_label = [
        {int(y): x for b in batches for x, y in zip(b.images, b.labels, strict=True)} for batches in (first, loader)
    ]
    assert set(by_label[0]) == set(by_label[1]) == set(range(12))
    assert sum(torch.equal(by_label[0][i], by_label[1][i]) for i in range(12)) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loaded_state_continues_in_the_middle(paths, workers):
    whole, broken, resumed = _loader(paths, batches=7), _loader(paths, workers, batches=7), _loader(paths, batches=7)
    iterator = iter(broken)
    for _ in range(5):
        next(iterator)
    # workers have read further, which does not count
    assert broken.state_dict() == {"epoch": 0, "position": 5}
    resumed.load_state_dict(broken.state_dict())
    _same(resumed, list(whole)[5:])


def test_a_large_image_is_reduced_and_its_centre_taken(tmp_path):
    pixels = torch.zeros(64, 128, 3, dtype=torch.uint8)
    pixels[:, 32:96] = 255
    Image.fromarray(pixels.numpy()).save(tmp_path / "a.png")
    image = ImageReader(3, (28, 28), random_resized_crop=True)(tmp_path / "a.png")
    assert image.shape == (3, 28, 28)
    assert image.float().mean() > 250
    assert ImageReader(1, (8, 10))(tmp_path / "a.png").shape == (1, 8, 10)


def test_threads_keep_the_order(paths):
    reader = ImageReader(3, (16, 16))
    assert torch.equal(decode_all(paths, reader, 4), torch.stack([reader(path) for path in paths]))


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_a_broken_file_is_named(paths, content):
    paths[3].write_bytes(paths[3].read_bytes()[:600] if content == "half" else content)
    with pytest.raises(ValueError, match=r"3\.png cannot be decoded .* Replace the file or delete it"):
        decode_all(paths, ImageReader(3, (16, 16)))
    with pytest.raises(ValueError, match=r"3\.png cannot be decoded"):
        list(_loader(paths, reader=ImageReader(3, (16, 16))))
