"""Images made of noise around a pattern of their class, for tests and smoke runs."""

from dataclasses import asdict
from typing import Any

import torch

from lit_nas.data.image_data_module import ImageDataModule, Pixels
from lit_nas.data.order import generator
from lit_nas.specs import ImageSpec

__all__ = ("SyntheticDataModule",)


class SyntheticDataModule(ImageDataModule):
    """Images that a network can learn: a smooth random pattern for each class, plus noise.

    The images are the same in each run; labels come in turn, so each class has its share of any stretch of images.

    Args:
        num_images: Training images; the test part has a quarter as many, at least one per class.
        channels: C.
        height: H.
        width: W.
        classes: K.
        common: Arguments of `ImageDataModule`.

    Raises:
        ValueError: if there is no image.
    """

    def __init__(
        self,
        num_images: int = 512,
        channels: int = 3,
        height: int = 32,
        width: int = 32,
        classes: int = 10,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if num_images < 1:
            raise ValueError(f"data.num_images must be at least 1, not {num_images}.")
        self.num_images = num_images
        self._spec = ImageSpec(channels, height, width, classes)
        # the patterns are centred on the middle of the range
        self.mean, self.std = (0.5,) * channels, (0.25,) * channels

    @property
    def spec(self) -> ImageSpec:
        """Shape and classes."""
        return self._spec

    @property
    def origin(self) -> dict[str, Any]:
        """Which images there are before they are divided."""
        numbers = {name: value for name, value in asdict(self.spec).items() if name != "task"}
        return {**super().origin, "num_images": self.num_images, "inputs": numbers}

    def read(self) -> Pixels:
        """Draws the images."""
        source, spec = generator(0), self.spec
        coarse = torch.randn(spec.classes, spec.channels, 4, 4, generator=source)
        pattern = torch.nn.functional.interpolate(coarse, (spec.height, spec.width), mode="bilinear")
        count = self.num_images + max(self.num_images // 4, spec.classes)
        labels = torch.arange(count) % spec.classes
        noise = torch.randn(count, spec.channels, spec.height, spec.width, generator=source)
        images = (127.5 + 40 * pattern[labels] + 40 * noise).clamp(0, 255).to(torch.uint8)
        return Pixels(images, labels, self.num_images)
