import pytest
import torch

from lit_nas.data.augment import Augmentation

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SCALE = torch.tensor([1 / (255 * s) for s in STD]).view(3, 1, 1)
SHIFT = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).view(3, 1, 1)


def _images(count=12, height=9, width=7):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def _slow(image, numbers, augmentation):
    """One image, pixel by pixel."""
    top, left, mirrored, row, column = numbers
    channels, height, width = image.shape
    p, side = augmentation.crop_padding, augmentation.cutout
    result = torch.zeros(channels, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            from_y = y + top - p
            from_x = (width - 1 - x if augmentation.flip and mirrored else x) + left - p
            inside = 0 <= from_y < height and 0 <= from_x < width
            cut = row - side // 2 <= y < row - side // 2 + side and column - side // 2 <= x < column - side // 2 + side
            for c in range(channels):
                value = image[c, from_y, from_x].item() if inside else 0
                result[c, y, x] = 0.0 if cut and side else (value / 255 - MEAN[c]) / STD[c]
    return result


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(0, False),
        Augmentation(0, True),
        Augmentation(2, False),
        Augmentation(4, True, 4),
        Augmentation(3, True, 5),
        Augmentation(0, False, 30),
    ],
)
def test_a_batch_equals_its_images_one_by_one(augmentation):
    images = _images()
    drawn = augmentation.draw(5, 12, 9, 7)
    batch = augmentation.apply(images, drawn, SCALE, SHIFT)
    one_by_one = torch.stack([_slow(image, drawn[:, i].tolist(), augmentation) for i, image in enumerate(images)])
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch.double(), one_by_one, atol=2e-6, rtol=0)
    torch.testing.assert_close(augmentation(images, 5, SCALE, SHIFT), batch, atol=0, rtol=0)


def test_all_parameters_occur_about_equally_often():
    top, left, flip, row, column = Augmentation(4).draw(0, 20_000, 9, 7)
    for values, count in [(top, 9), (left, 9), (flip, 2), (row, 9), (column, 7)]:
        frequency = values.bincount(minlength=count) / 20_000
        assert len(frequency) == count
        torch.testing.assert_close(frequency, torch.full((count,), 1 / count), atol=0.015, rtol=0)
    assert torch.corrcoef(torch.stack([top, left, flip, row, column]).double()).fill_diagonal_(0).abs().max() < 0.03


def test_cutout_removes_the_expected_share():
    # with a side of 4 in a width of 8, each axis keeps 4 pixels except near the border: 2, 3, 4, 4, 4, 4, 4, 3
    images = torch.full((20_000, 3, 8, 8), 255, dtype=torch.uint8)
    batch = Augmentation(0, False, 4)(images, 1, SCALE, SHIFT)
    share = (batch == 0).double().mean().item()
    assert share == pytest.approx((28 / 8 / 8) ** 2, abs=0.003)


def test_the_seed_decides_and_the_global_generator_does_not():
    images, augmentation = _images(), Augmentation(4, True, 4, auto_augment=True)
    before = torch.get_rng_state()
    first = augmentation(images, 1, SCALE, SHIFT)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(augmentation(images, 1, SCALE, SHIFT), first)
    assert not torch.equal(augmentation(images, 2, SCALE, SHIFT), first)


def test_auto_augment_changes_images_one_by_one():
    same = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8).expand(32, -1, -1, -1)
    result = Augmentation(0, False, auto_augment=True)(same, 0, SCALE, SHIFT)
    assert len(result.flatten(1).unique(dim=0)) > 10


def test_auto_augment_needs_colours():
    with pytest.raises(ValueError, match=r"auto_augment changes colours and needs 3 channels, but the images have 1"):
        Augmentation(auto_augment=True)(_images()[:, :1], 0, SCALE[:1], SHIFT[:1])


@pytest.mark.parametrize("name", ["crop_padding", "cutout"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ValueError, match=rf"data\.augmentation\.{name} must be at least 0, not -1"):
        Augmentation(**{name: -1})
