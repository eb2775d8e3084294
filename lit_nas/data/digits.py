"""Handwritten digits that come with scikit-learn: real images without a download."""

from typing import Any

import numpy as np
import torch

from lit_nas.data.augment import Augmentation
from lit_nas.data.image_data_module import ImageDataModule, Pixels
from lit_nas.specs import ImageSpec

__all__ = ("DigitsDataModule",)


class DigitsDataModule(ImageDataModule):
    """1,797 grey images of 8 by 8 pixels in 10 classes; every fifth image of each class is the test part.

    Args:
        augmentation: Changes of the training images. The default crops by one pixel, because four would move half of
            an image away, and does not mirror, because mirrored digits are none.
        common: Other arguments of `ImageDataModule`.
    """

    # over the training images that this module makes
    mean = (0.3051,)
    std = (0.3760,)

    def __init__(self, augmentation: Augmentation = Augmentation(crop_padding=1, flip=False), **common: Any) -> None:
        super().__init__(augmentation=augmentation, **common)

    @property
    def spec(self) -> ImageSpec:
        """Shape and classes."""
        return ImageSpec(1, 8, 8, 10)

    def read(self) -> Pixels:
        """Reads the images, whose values 0 to 16 become 0 to 255."""
        from sklearn.datasets import load_digits

        data = load_digits()
        order = [np.flatnonzero(data.target == label) for label in range(10)]
        test = np.concatenate([images[4::5] for images in order])
        index = np.concatenate([np.setdiff1d(np.arange(len(data.target)), test), test])
        images = torch.from_numpy(np.rint(data.images[index] * (255 / 16)).astype(np.uint8))
        return Pixels(images.unsqueeze(1), torch.from_numpy(data.target[index]).long(), len(index) - len(test))
