"""Data sets that torchvision downloads and reads."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lit_nas.data.augment import Augmentation
from lit_nas.data.image_data_module import ImageDataModule, Pixels
from lit_nas.specs import ImageSpec

__all__ = ("CIFAR10DataModule", "CIFAR100DataModule", "FashionMNISTDataModule", "SVHNDataModule")


_CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel "
    "can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur "
    "dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion "
    "lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree "
    "pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea "
    "seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank "
    "telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)


class _VisionDataModule(ImageDataModule, ABC):
    """A data set of torchvision, in its layout below `root`."""

    files: Sequence[str]
    """Files below the root that must be there."""
    archive: str
    """What holds them at the source."""

    def __init__(self, root: str = "data", download: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.root, self.download = root, download

    @abstractmethod
    def open(self, train: bool, download: bool) -> Any:
        """The data set of torchvision."""

    def prepare_data(self) -> None:
        """Downloads what is missing, if asked to.

        Raises:
            OSError: if that is not possible.
        """
        if not self.download:
            return
        try:
            for train in (True, False):
                self.open(train, download=True)
        # no network, no answer, a file that differs from what was published
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{type(self).__name__} could not download its files ({error}). {self._how_to_put_files()}"
            ) from error

    def read(self) -> Pixels:
        """Reads training and test part.

        Raises:
            FileNotFoundError: if files are missing.
            ValueError: if torchvision refuses the files that are there.
        """
        root = Path(self.root)
        if missing := [name for name in self.files if not (root / name).is_file()]:
            raise FileNotFoundError(
                f"{type(self).__name__} found no {', '.join(missing)} under data.root {str(root.resolve())!r}. Set "
                f"data.download to true. {self._how_to_put_files()}"
            )
        try:
            parts = [self.open(train, download=False) for train in (True, False)]
        except RuntimeError as error:
            raise ValueError(
                f"{type(self).__name__} cannot use the files under {str(root.resolve())!r} ({error}). Delete them and "
                "set data.download to true, or put intact files there."
            ) from error
        images = torch.cat([_pixels(part.data) for part in parts])
        # SVHN says labels, the others targets
        labels = [torch.as_tensor(part.targets if hasattr(part, "targets") else part.labels) for part in parts]
        return Pixels(images, torch.cat(labels).long(), len(labels[0]))

    def _how_to_put_files(self) -> str:
        return (
            f"Without a network, {self.archive} from another machine and put {', '.join(self.files)} below data.root "
            f"({str(Path(self.root).resolve())!r}), then set data.download to false."
        )


def _pixels(data: Any) -> torch.Tensor:
    """uint8 [N, C, H, W] from any of torchvision's layouts."""
    data = torch.as_tensor(data)
    if data.ndim == 3:
        return data.unsqueeze(1)
    # only the last axis of [N, H, W, C] has three entries
    return data.permute(0, 3, 1, 2).contiguous() if data.shape[-1] == 3 else data


class CIFAR10DataModule(_VisionDataModule):
    """CIFAR-10: 50,000 training and 10,000 test images in 10 classes.

    Args:
        root: Folder with `cifar-10-batches-py`.
        download: Whether to download missing files.
        common: Arguments of `ImageDataModule`.
    """

    spec = ImageSpec(3, 32, 32, 10)
    # over the training images, as in the DARTS code
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    files = tuple(
        f"cifar-10-batches-py/{name}"
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
    )
    archive = "unpack cifar-10-python.tar.gz"

    def __init__(self, root: str = "data", download: bool = False, **common: Any) -> None:
        super().__init__(root, download, **common)

    def open(self, train: bool, download: bool) -> Any:
        """The data set of torchvision."""
        from torchvision.datasets import CIFAR10

        return CIFAR10(self.root, train=train, download=download)


class CIFAR100DataModule(_VisionDataModule):
    """CIFAR-100: 50,000 training and 10,000 test images in 100 classes.

    Args:
        root: Folder with `cifar-100-python`.
        download: Whether to download missing files.
        common: Arguments of `ImageDataModule`.
    """

    spec = ImageSpec(3, 32, 32, 100)
    # over the training images
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
    class_names = tuple(_CIFAR100.split())
    files = ("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta")
    archive = "unpack cifar-100-python.tar.gz"

    def __init__(self, root: str = "data", download: bool = False, **common: Any) -> None:
        super().__init__(root, download, **common)

    def open(self, train: bool, download: bool) -> Any:
        """The data set of torchvision."""
        from torchvision.datasets import CIFAR100

        return CIFAR100(self.root, train=train, download=download)


class SVHNDataModule(_VisionDataModule):
    """SVHN, cropped digits: 73,257 training and 26,032 test images in 10 classes, without the `extra` part.

    Args:
        root: Folder with `train_32x32.mat` and `test_32x32.mat`.
        download: Whether to download missing files.
        augmentation: Changes of the training images. The default does not mirror, because mirrored digits are none.
        common: Other arguments of `ImageDataModule`.
    """

    spec = ImageSpec(3, 32, 32, 10)
    # over the training images
    mean = (0.4377, 0.4438, 0.4728)
    std = (0.1980, 0.2010, 0.1970)
    class_names = tuple("0123456789")
    files = ("train_32x32.mat", "test_32x32.mat")
    archive = "fetch both files"

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        augmentation: Augmentation = Augmentation(flip=False),
        **common: Any,
    ) -> None:
        super().__init__(root, download, augmentation=augmentation, **common)

    def open(self, train: bool, download: bool) -> Any:
        """The data set of torchvision."""
        from torchvision.datasets import SVHN

        return SVHN(self.root, split="train" if train else "test", download=download)


class FashionMNISTDataModule(_VisionDataModule):
    """Fashion-MNIST: 60,000 training and 10,000 test images in grey, 10 classes.

    Args:
        root: Folder with `FashionMNIST/raw`, which holds the four unpacked idx files.
        download: Whether to download missing files.
        common: Arguments of `ImageDataModule`.
    """

    spec = ImageSpec(1, 28, 28, 10)
    # over the training images
    mean = (0.2860,)
    std = (0.3530,)
    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    files = tuple(
        f"FashionMNIST/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    archive = "unpack the four .gz files"

    def __init__(self, root: str = "data", download: bool = False, **common: Any) -> None:
        super().__init__(root, download, **common)

    def open(self, train: bool, download: bool) -> Any:
        """The data set of torchvision."""
        from torchvision.datasets import FashionMNIST

        return FashionMNIST(self.root, train=train, download=download)
