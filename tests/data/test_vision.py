import pickle
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from lit_nas.data import (
    Augmentation,
    CIFAR10DataModule,
    CIFAR100DataModule,
    FashionMNISTDataModule,
    SVHNDataModule,
)

_MODULES = (CIFAR10DataModule, CIFAR100DataModule, FashionMNISTDataModule, SVHNDataModule)


def _idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes())


def test_fashion_mnist_is_read_from_its_files(tmp_path):
    random = np.random.default_rng(0)
    images, labels = {}, {}
    for part, count in (("train", 30), ("t10k", 10)):
        images[part] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels[part] = random.integers(0, 10, count, dtype=np.uint8)
        _idx(tmp_path / "FashionMNIST" / "raw" / f"{part}-images-idx3-ubyte", images[part])
        _idx(tmp_path / "FashionMNIST" / "raw" / f"{part}-labels-idx1-ubyte", labels[part])
    data = FashionMNISTDataModule(str(tmp_path), batch_size=4)
    data.setup("fit")
    assert data.sizes == {"weights": 15, "arch": 15, "test": 10}
    batches = list(data.test_dataloader())
    assert np.array_equal(torch.cat([b.images for b in batches]).numpy()[:, 0], images["t10k"])
    assert np.array_equal(torch.cat([b.labels for b in batches]).numpy(), labels["t10k"])
    batch = next(iter(data.train_dataloader()["weights"]))
    assert batch.images.shape == (4, 1, 28, 28)
    for image, label in zip(batch.images.numpy(), batch.labels.tolist(), strict=True):
        (where,) = np.flatnonzero((images["train"] == image).all((1, 2)))
        assert labels["train"][where] == label


@pytest.mark.parametrize("module", _MODULES)
def test_layouts_of_torchvision_become_one(module, monkeypatch, tmp_path):
    spec = module().spec
    random = np.random.default_rng(0)
    shape = (6, spec.channels, spec.height, spec.width)

    class _Part:
        pass

    def open_(self, train, download):
        assert not download
        part, pixels = _Part(), random.integers(0, 256, shape, dtype=np.uint8)
        part.pixels = pixels
        if module is SVHNDataModule:
            part.data, part.labels = pixels, np.arange(6)
        elif module is FashionMNISTDataModule:
            part.data, part.targets = torch.from_numpy(pixels[:, 0]), torch.arange(6)
        else:
            part.data, part.targets = pixels.transpose(0, 2, 3, 1), list(range(6))
        opened.append(part)
        return part

    opened = []
    monkeypatch.setattr(module, "open", open_)
    for name in module.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    source = module(str(tmp_path)).read()
    assert np.array_equal(source.images.numpy(), np.concatenate([part.pixels for part in opened]))
    assert source.labels.tolist() == [*range(6), *range(6)]
    assert source.labels.dtype == torch.int64
    assert source.train == 6


@pytest.mark.parametrize("module", _MODULES)
def test_missing_files_are_named(module, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        module(str(tmp_path)).setup("fit")
    message = str(error.value)
    assert all(name in message for name in module.files)
    assert str(tmp_path) in message
    assert "data.download to true" in message
    assert "Without a network, " in message
    assert "data.download to false" in message


def test_files_that_torchvision_refuses_are_reported(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"CIFAR100DataModule cannot use the files under .*Delete them"):
        CIFAR100DataModule(str(tmp_path)).setup("fit")


@pytest.mark.parametrize("module", _MODULES)
def test_download_is_asked_for_once_and_only_on_request(module, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "open", lambda self, train, download: asked.append((train, download)))
    module(download=False).prepare_data()
    assert asked == []
    module(download=True).prepare_data()
    assert asked == [(True, True), (False, True)]


@pytest.mark.parametrize("module", _MODULES)
@pytest.mark.parametrize("error", [URLError("Name or service not known"), RuntimeError("Error downloading x")])
def test_a_download_that_fails_says_what_may_be_put_where(module, error, monkeypatch, tmp_path):
    def fail(self, train, download):
        raise error

    monkeypatch.setattr(module, "open", fail)
    with pytest.raises(OSError, match=r"could not download its files .*Without a network") as raised:
        module(str(tmp_path), download=True).prepare_data()
    message = str(raised.value)
    assert all(name in message for name in module.files)
    assert str(tmp_path) in message
    assert "data.download to false" in message


@pytest.mark.parametrize("module", _MODULES)
def test_classes_have_the_names_of_torchvision(module):
    data = module()
    assert len(set(data.class_names)) == data.spec.classes
    if module is FashionMNISTDataModule:
        assert [name.lower() for name in data.class_names] == [name.lower() for name in FashionMNIST.classes]


@pytest.mark.parametrize("module", _MODULES)
def test_constants_have_a_number_a_channel(module):
    data = module()
    assert len(data.mean) == len(data.std) == data.spec.channels


@pytest.mark.parametrize("module", _MODULES)
def test_only_digits_are_not_mirrored_by_default(module):
    assert module().augmentation == Augmentation(flip=module is not SVHNDataModule)
    assert module(augmentation=Augmentation(cutout=16)).augmentation == Augmentation(cutout=16)
