"""Images in files: decoded once into memory, or again in each epoch by worker processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import tee
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lit_nas.data.augment import fork_generator
from lit_nas.data.loader import ImageBatch, RoleLoader
from lit_nas.data.order import Order, mix

__all__ = ("EXTENSIONS", "FileLoader", "ImageReader", "decode_all")

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of the files that are taken as images."""


@dataclass(frozen=True)
class ImageReader:
    """Turns a file into a uint8 image [C, H, W] of a fixed size."""

    channels: int
    """3 for RGB or 1 for grey, whatever the file holds."""
    size: tuple[int, int]
    """Height and width."""
    random_resized_crop: bool = False
    """The ImageNet recipe: a random part of the image and jittered colours in training, the centre in evaluation."""

    def __call__(self, path: Path, seed: int | None = None) -> Tensor:
        """Reads a file.

        Args:
            path: The file.
            seed: Drives the random changes of training; None reads for evaluation.

        Raises:
            ValueError: if the file is no image that can be decoded.
        """
        from PIL import Image
        from torchvision.transforms.v2 import functional as F

        try:
            with Image.open(path) as file:
                image = F.pil_to_tensor(file.convert("RGB" if self.channels == 3 else "L"))
        # Pillow reports a broken file by any of these
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be decoded ({error}). Replace the file or delete it; files that end in "
                f"{', '.join(EXTENSIONS)} are read."
            ) from error
        if self.random_resized_crop and seed is not None:
            return self._random_part(image, seed)
        if self.random_resized_crop:
            # 256 to 224 is the habit for ImageNet
            image = F.resize(image, [round(min(self.size) * 256 / 224)], antialias=True)
            return F.center_crop(image, list(self.size))
        return image if tuple(image.shape[-2:]) == self.size else F.resize(image, list(self.size), antialias=True)

    def _random_part(self, image: Tensor, seed: int) -> Tensor:
        from torchvision.transforms import v2

        with fork_generator(seed):
            image = v2.RandomResizedCrop(self.size, antialias=True)(image)
            # as in the DARTS recipe for ImageNet
            hue = 0.2 if self.channels == 3 else 0.0
            return v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4 if hue else 0.0, hue=hue)(image)


def decode_all(paths: Sequence[Path], reader: ImageReader, threads: int = 8) -> Tensor:
    """All files as one uint8 tensor [N, C, H, W]; decoding leaves Python's lock, so threads help."""
    images = torch.empty(len(paths), reader.channels, *reader.size, dtype=torch.uint8)

    def read(i: int) -> None:
        images[i] = reader(paths[i])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(len(paths))):
            pass
    return images


class FileLoader(RoleLoader):
    """Loads from files, in worker processes if `workers` is positive.

    The changes of each image follow from (seed, role, epoch, cycle, image), so they depend neither on the number of
    workers nor on where an interrupted run continues.

    Args:
        paths: All files of the data set.
        labels: int64 [N].
        reader: Decodes and resizes.
        order: Which image comes when.
        workers: Worker processes; 0 reads in this one.
        pin: Whether to put batches into memory from which a GPU copies faster.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        labels: Tensor,
        reader: ImageReader,
        order: Order,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        super().__init__(order)
        self.files = _Files(paths, labels, reader, order)
        self.workers, self.pin = workers, pin

    def load(self, epoch: int, start: int) -> Iterator[ImageBatch]:
        """Batches of an epoch from number `start` on."""
        ahead, batches = tee(self.order.batches(epoch, start))
        # listed as workers ask for them, because an epoch of a large data set has a million
        keys = ([(epoch, cycle, i) for i in index.tolist()] for index, cycle, _ in ahead)
        # the generator keeps DataLoader from drawing its workers' seed from the global one
        loader = DataLoader(
            self.files,
            batch_sampler=keys,
            num_workers=self.workers,
            pin_memory=self.pin,
            generator=torch.Generator(),
        )
        for (images, labels), (_, _, seed) in zip(loader, batches, strict=True):
            yield ImageBatch(images, labels, seed)


class _Files(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, paths: Sequence[Path], labels: Tensor, reader: ImageReader, order: Order) -> None:
        self.paths, self.labels, self.reader = paths, labels, reader
        self.key = (order.seed, order.role) if order.training else None

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        *when, i = key
        seed = None if self.key is None else mix(*self.key, "image", *when, i)
        return self.reader(self.paths[i], seed), self.labels[i]
