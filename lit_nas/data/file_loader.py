"""Images in files: decoded once into memory, or again in each epoch by worker processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lit_nas.data.augment import fork_generator
from lit_nas.data.order import Order, mix
from lit_nas.data.role_loader import RoleLoader
from lit_nas.data.tensor_loader import RawBatch

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ("EXTENSIONS", "FileLoader", "ImageReader", "decode_all", "has_images", "is_hidden", "list_images")

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings of the files that are taken as images."""


@dataclass(frozen=True)
class ImageReader:
    """Turns a file into a uint8 image [C, H, W] of a fixed size, as a viewer shows it.

    The orientation that a camera noted is applied, 16 bits are scaled to 8, transparent pixels show a white background,
    and of an animation or a file of several pages the first one is taken.
    """

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
        from PIL import Image, ImageOps
        from torchvision.transforms.v2 import functional as F

        try:
            with Image.open(path) as file:
                shown = _on_white(_eight_bits(ImageOps.exif_transpose(file)))
                image = F.pil_to_tensor(shown.convert("RGB" if self.channels == 3 else "L"))
        # Pillow reports a broken or a huge file by any of these
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
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


def _eight_bits(image: "Image") -> "Image":
    """Scales 16-bit grey, which Pillow would clip to white."""
    import numpy as np
    from PIL import Image

    if image.mode == "F" or not image.mode.startswith("I"):
        if image.mode == "F":
            raise ValueError("its pixels are floating-point numbers, which do not say what white is")
        return image
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(
            f"its pixels run from {pixels.min()} to {pixels.max()}, but integers are read as 16 bits, 0 to 65535"
        )
    scaled = Image.fromarray(((pixels + 128) // 257).astype(np.uint8))
    if isinstance(key := image.info.get("transparency"), int):  # the one value that is transparent
        scaled.putalpha(Image.fromarray(np.where(pixels == key, 0, 255).astype(np.uint8)))
    return scaled


def _on_white(image: "Image") -> "Image":
    """Shows white where the image is transparent, by an alpha channel or a colour that stands for it."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def list_images(folder: Path) -> list[Path]:
    """Files in a folder and below it that end like an image, in alphabetical order, without hidden ones."""
    return sorted(_images_in(folder))


def has_images(folder: Path) -> bool:
    """Whether `list_images` would find any; looks no further than the first."""
    return any(True for _ in _images_in(folder))


def _images_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in EXTENSIONS and not is_hidden(path.relative_to(folder)) and path.is_file():
            yield path


def is_hidden(path: Path) -> bool:
    """Whether a name of the path starts with a dot, as those of caches and of copies by macOS do."""
    return any(part.startswith(".") for part in path.parts)


def decode_all(paths: Sequence[Path], reader: ImageReader, threads: int = 8) -> Tensor:
    """All files as one uint8 tensor [N, C, H, W]; decoding leaves Python's lock, so threads help."""
    images = torch.empty(len(paths), reader.channels, *reader.size, dtype=torch.uint8)

    def read(i: int) -> None:
        images[i] = reader(paths[i])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, range(len(paths))):
            pass
    return images


class FileLoader(RoleLoader[RawBatch]):
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
        super().__init__(len(order))
        self.order = order
        self.files = _Files(paths, labels, reader, order)
        self.workers, self.pin = workers, pin

    def load(self, epoch: int, start: int) -> Iterator[RawBatch]:
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
            yield RawBatch(images, labels, seed)


class _Files(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, paths: Sequence[Path], labels: Tensor, reader: ImageReader, order: Order) -> None:
        self.paths, self.labels, self.reader = paths, labels, reader
        self.key = (order.seed, order.role) if order.training else None

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        *when, i = key
        seed = None if self.key is None else mix(*self.key, "image", *when, i)
        return self.reader(self.paths[i], seed), self.labels[i]
