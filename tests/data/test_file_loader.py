import numpy as np
import pytest
import torch
from PIL import Image

from lit_nas.data.file_loader import FileLoader, ImageReader, decode_all, list_images
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


GREY = np.array([[0, 257, 32_896, 65_535]], dtype=np.uint16)  # 0, 1, 128 and 255 times 257


def _seen(path, image, channels=3, **options):
    image.save(path, **options)
    return ImageReader(channels, image.size[::-1])(path)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(tmp_path, ending, channels):
    image = _seen(tmp_path / f"a.{ending}", Image.fromarray(GREY), channels)
    assert image.tolist() == [[[0, 1, 128, 255]]] * channels


def test_integers_of_16_bits_in_32_are_scaled_and_larger_ones_refused(tmp_path):
    image = _seen(tmp_path / "a.tif", Image.fromarray(GREY.astype(np.int32)), 1)
    assert image.tolist() == [[[0, 1, 128, 255]]]
    with pytest.raises(ValueError, match=r"b\.tif cannot be decoded \(its pixels run from 0 to 131070"):
        _seen(tmp_path / "b.tif", Image.fromarray(GREY.astype(np.int32) * 2))
    with pytest.raises(ValueError, match=r"c\.tif cannot be decoded \(its pixels are floating-point numbers"):
        _seen(tmp_path / "c.tif", Image.fromarray(GREY.astype(np.float32)))


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    image, exif = Image.new("RGB", (16, 8)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 8, 8))
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    seen = ImageReader(1, (16, 8))(tmp_path / "a.png")
    assert (seen[0, :8] == 255).all()
    assert (seen[0, 8:] == 0).all()


def _with_alpha(mode):
    return {"RGBA": Image.new("RGBA", (1, 1), (200, 0, 0, 0)), "LA": Image.new("LA", (1, 1), (7, 0))}[mode]


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_white(tmp_path, channels):
    palette = Image.new("P", (1, 1))
    palette.putpalette([200, 0, 0, 0, 0, 0])
    white = [[[255]]] * channels
    for mode in ("RGBA", "LA"):
        assert _seen(tmp_path / f"{mode}.png", _with_alpha(mode), channels).tolist() == white
    for ending in ("png", "gif"):
        assert _seen(tmp_path / f"p.{ending}", palette, channels, transparency=0).tolist() == white
    assert _seen(tmp_path / "l.png", Image.new("L", (1, 1), 9), channels, transparency=9).tolist() == white
    grey = Image.fromarray(np.array([[257, 514]], dtype=np.uint16))
    assert _seen(tmp_path / "i.png", grey, channels, transparency=257).tolist() == [[[255, 2]]] * channels


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    image = _seen(tmp_path / "a.png", Image.new("RGBA", (1, 1), (255, 0, 0, 51)))
    assert image.flatten().tolist() == [255, 204, 204]


def test_other_modes_look_as_they_should(tmp_path):
    one = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert _seen(tmp_path / "one.png", one).tolist() == [[[0, 255]]] * 3
    cmyk = _seen(tmp_path / "cmyk.tif", Image.new("CMYK", (1, 1), (0, 255, 255, 0)))
    assert cmyk.flatten().tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", ["gif", "tif"])
def test_the_first_frame_is_taken(tmp_path, ending):
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    image = _seen(tmp_path / f"a.{ending}", frames[0], 1, save_all=True, append_images=frames[1:])
    assert (image == 0).all()


def test_hidden_files_and_folders_that_look_like_files_are_not_listed(tmp_path):
    for name in ("b/1.png", "a.JPG", ".hidden/x.png", "._a.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)] == ["a.JPG", "b/1.png"]
