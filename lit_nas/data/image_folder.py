"""Images in a folder for each class."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lit_nas.data.file_loader import EXTENSIONS, ImageReader, decode_all, has_images, is_hidden, list_images
from lit_nas.data.image_data_module import ImageDataModule, ImageFiles, Pixels
from lit_nas.data.order import generator, mix
from lit_nas.specs import ImageSpec

__all__ = ("ImageFolderDataModule",)

CLASSES = "classes.json"
"""Where a run folder has the names of the classes."""


class ImageFolderDataModule(ImageDataModule):
    """Reads `root/train/CLASS/*` and `root/test/CLASS/*`; `root/val` serves if there is no `root/test`.

    Classes are the folders below `root/train` in alphabetical order, without hidden ones. Without a test folder a
    fraction of the training images, drawn with `split_seed`, is the test part. `ImageReader` reads images as viewers
    show them. To classify images elsewhere (`predict_root`), `root` may also be the folder of a run, whose
    `classes.json` names the classes.

    Args:
        root: The folder.
        size: Height and width, or one number for both, to which images are resized.
        channels: 3 reads as RGB, 1 as grey.
        in_memory: Whether to decode all files once and keep the pixels; otherwise workers decode in each epoch.
        random_resized_crop: Whether to use the ImageNet recipe: random parts and jittered colours in training, the
            centre of a larger image in evaluation. Needs `in_memory: false` and `augmentation.crop_padding: 0`.
        num_workers: Processes that decode if the pixels are not kept in memory, otherwise threads that decode once.
        test_fraction: Share of the test part if there is no folder for it.
        mean: Mean of each channel; None takes ImageNet's for RGB and 0.5 for grey.
        std: Deviation of each channel; None takes ImageNet's for RGB and 0.5 for grey.
        common: Arguments of `ImageDataModule`.

    Raises:
        ValueError: for values that contradict each other or are out of range.
    """

    def __init__(
        self,
        root: str,
        size: int | tuple[int, int] = 32,
        channels: int = 3,
        in_memory: bool = True,
        random_resized_crop: bool = False,
        num_workers: int = 4,
        test_fraction: float = 0.2,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if channels not in (1, 3):
            raise ValueError(f"data.channels must be 3 (RGB) or 1 (grey), not {channels}.")
        if not 0 < test_fraction < 1:
            raise ValueError(f"data.test_fraction must lie between 0 and 1, not be {test_fraction}.")
        if num_workers < 0:
            raise ValueError(f"data.num_workers must be at least 0, not {num_workers}.")
        if random_resized_crop and in_memory:
            raise ValueError("data.random_resized_crop needs the files in each epoch. Set data.in_memory to false.")
        if random_resized_crop and self.augmentation.crop_padding:
            raise ValueError(
                "data.random_resized_crop crops already, but data.augmentation.crop_padding is "
                f"{self.augmentation.crop_padding}. Set it to 0."
            )
        size = (size, size) if isinstance(size, int) else (size[0], size[1])
        if min(size) < 1:
            raise ValueError(f"data.size must be positive, not {size}.")
        if std is not None and min(std) <= 0:
            raise ValueError(f"data.std is {std}, but deviations are positive.")
        for name, given in (("mean", mean), ("std", std)):
            if given is not None and len(given) != channels:
                raise ValueError(f"data.{name} has {len(given)} numbers, but data.channels is {channels}.")
        self.root, self.in_memory, self.num_workers, self.test_fraction = (
            Path(root),
            in_memory,
            num_workers,
            test_fraction,
        )
        self.reader = ImageReader(channels, size, random_resized_crop)
        self.mean = mean or ((0.485, 0.456, 0.406) if channels == 3 else (0.5,))
        self.std = std or ((0.229, 0.224, 0.225) if channels == 3 else (0.5,))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; their numbers are labels.

        Raises:
            FileNotFoundError: if there is no training folder, or no class in it.
            ValueError: if a class has no image, or there is a single one.
        """
        train = self.root / "train"
        if not train.is_dir() and (self.root / CLASSES).is_file():
            return _read_classes(self.root / CLASSES)
        folders = _class_folders(train) if train.is_dir() else []
        if not folders:
            raise FileNotFoundError(
                f"data.root {str(self.root.resolve())!r} has no folder of a class: looked for {train}/CLASS and, for "
                f"the test part, {self.root / 'test'}/CLASS or {self.root / 'val'}/CLASS. Put each class's images "
                "into a folder of its own there, or set data.root."
            )
        _refuse_empty(train, [path.name for path in folders if not has_images(path)])
        if len(folders) == 1:
            raise ValueError(
                f"{train} has the single class '{folders[0].name}', but a network needs at least 2 to tell apart. Put "
                "each class's images into a folder of its own there."
            )
        return tuple(folder.name for folder in folders)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the folders."""
        return self.classes

    @property
    def test_rule(self) -> dict[str, Any]:
        """What the choice of the test images depends on."""
        drawn = {"split_seed": self.split.seed or 0, "test_fraction": self.test_fraction}
        return {**({} if self._test_folder else drawn), **super().test_rule}

    @property
    def origin(self) -> dict[str, Any]:
        """Which images there are before they are divided: a digest of the names of their files below the root."""
        folders = [self.root / "train", *([self._test_folder] if self._test_folder else [])]
        names = hashlib.sha256()
        for folder in folders:
            for path, _ in self._list(folder):
                names.update(f"{path.relative_to(self.root).as_posix()}\n".encode())
        return {**super().origin, "files": names.hexdigest()}

    @property
    def spec(self) -> ImageSpec:
        """Shape and classes; looks into the training folder."""
        return ImageSpec(self.reader.channels, *self.reader.size, len(self.classes))

    def read(self) -> Pixels | ImageFiles:
        """Lists the files, and decodes them if they are kept in memory."""
        train = self._list(self.root / "train")
        folder = self._test_folder
        if folder is None:
            order = torch.randperm(len(train), generator=generator(mix(self.split.seed or 0, "test"))).tolist()
            held_out = set(order[: round(self.test_fraction * len(train))])
            test = [file for i, file in enumerate(train) if i in held_out]
            train = [file for i, file in enumerate(train) if i not in held_out]
        else:
            test = self._list(folder)
        paths = [path for path, _ in train + test]
        labels = torch.tensor([label for _, label in train + test])
        if self.in_memory:
            return Pixels(decode_all(paths, self.reader, max(1, self.num_workers)), labels, len(train), paths)
        return ImageFiles(paths, labels, len(train), self.reader, self.num_workers)

    @property
    def _test_folder(self) -> Path | None:
        return next((path for path in (self.root / "test", self.root / "val") if path.is_dir()), None)

    def _list(self, folder: Path) -> list[tuple[Path, int]]:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"data.root {str(self.root.resolve())!r} has no folder {folder.name}, without which only images of "
                "data.predict_root can be classified."
            )
        labels = {name: label for label, name in enumerate(self.classes)}
        present = _class_folders(folder)
        if unknown := [path.name for path in present if path.name not in labels]:
            raise ValueError(
                f"{folder} has the classes {unknown}, which {self.root / 'train'} does not have; it has "
                f"{list(self.classes)}. Rename or remove their folders."
            )
        found = {path.name: list_images(path) for path in present}
        if not any(found.values()):
            raise ValueError(
                f"{folder} has {len(present)} folders of classes but no image: looked for files that end in "
                f"{', '.join(EXTENSIONS)}."
            )
        _refuse_empty(folder, [name for name, paths in found.items() if not paths])
        return [(path, labels[name]) for name, paths in found.items() for path in paths]


def _class_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(Path(path.name)))


def _refuse_empty(folder: Path, empty: list[str]) -> None:
    if empty:
        raise ValueError(
            f"{folder} has no image of the classes {empty}: looked in their folders for files that end in "
            f"{', '.join(EXTENSIONS)}. Add images, or remove the folders."
        )


def _read_classes(path: Path) -> tuple[str, ...]:
    names = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} is not a list of names of classes, as a run writes it.")
    return tuple(names)
