"""What a data set hands to a network: the one thing that data and models must agree on."""

from dataclasses import dataclass

__all__ = ("ImageSpec",)


@dataclass(frozen=True)
class ImageSpec:
    """Shape of the images and number of their labels.

    Every data module has it as `spec`, every image model takes it as `spec`; on the command line the one
    flows into the other by itself.

    Raises:
        ValueError: if a number is not positive, or there is nothing to tell apart.
    """

    channels: int = 3
    """Colour channels, C."""
    height: int = 32
    """Pixels, H."""
    width: int = 32
    """Pixels, W."""
    classes: int = 10
    """Number of labels, K."""

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"spec.{name} must be at least 1, not {getattr(self, name)}.")
        if self.classes == 1:
            raise ValueError("spec.classes is 1, but a network needs at least 2 classes to tell apart.")
