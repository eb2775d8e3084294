import torch

from lit_nas.data import Augmentation, DigitsDataModule
from lit_nas.specs import ImageSpec


def test_digits_are_complete_stratified_and_normalised():
    from sklearn.datasets import load_digits

    data = DigitsDataModule(batch_size=32)
    assert data.spec == ImageSpec(1, 8, 8, 10)
    data.setup("fit")
    source = data._source
    assert source.images.shape == (1797, 1, 8, 8)
    assert source.images.dtype == torch.uint8
    assert source.images.max() == 255
    train, test = source.labels[: source.train].bincount(), source.labels[source.train :].bincount()
    assert torch.allclose(test / (train + test), torch.tensor(0.2), atol=0.005)
    # every original image is there once, with its label
    originals = [(tuple(image.ravel()), int(label)) for image, label in zip(*load_digits(return_X_y=True), strict=True)]
    ours = (source.images.double() * 16 / 255).round().flatten(1).tolist()
    ours = [(tuple(image), label) for image, label in zip(ours, source.labels.tolist(), strict=True)]
    assert sorted(ours) == sorted(originals)
    pixels = source.images[: source.train].double() / 255
    assert abs(pixels.mean().item() - data.mean[0]) < 1e-3
    assert abs(pixels.std().item() - data.std[0]) < 1e-3


def test_digits_are_not_mirrored_by_default():
    assert DigitsDataModule().augmentation == Augmentation(crop_padding=1, flip=False)
    assert DigitsDataModule(augmentation=Augmentation(cutout=2)).augmentation == Augmentation(cutout=2)
