"""What a data set hands to a network: the one thing that data and models must agree on."""

from dataclasses import dataclass, fields
from typing import ClassVar

__all__ = ("ImageSpec", "Spec", "TextSpec")


@dataclass(frozen=True)
class Spec:
    """What data and a model agree on. Each kind of data has a subclass, a frozen dataclass of whole numbers.

    Every data module has one as `spec`, every model takes one as `spec`; on the command line the one flows into the
    other by itself. What searches, retrainings, checkpoints and the command line share knows no more than this class.

    Raises:
        ValueError: if a number is not positive.
    """

    samples: ClassVar[str] = "samples"
    """What `data.batch_size` counts, for messages."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise ValueError(f"spec.{field.name} must be at least 1, not {value}.")


@dataclass(frozen=True)
class ImageSpec(Spec):
    """Shape of the images and number of their labels.

    Raises:
        ValueError: if a number is not positive, or there is nothing to tell apart.
    """

    samples: ClassVar[str] = "images"

    channels: int = 3
    """Colour channels, C."""
    height: int = 32
    """Pixels, H."""
    width: int = 32
    """Pixels, W."""
    classes: int = 10
    """Number of labels, K."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes == 1:
            raise ValueError("spec.classes is 1, but a network needs at least 2 classes to tell apart.")


@dataclass(frozen=True)
class TextSpec(Spec):
    """Tokens that a language model reads and predicts: the whole numbers below the size of the vocabulary.

    How many sequences a batch has and how long they are is the choice of the data: it may change from batch to batch.

    Raises:
        ValueError: if there is nothing to predict.
    """

    samples: ClassVar[str] = "token sequences"

    vocabulary: int = 10_000
    """Number of different tokens, V, special ones such as the end of a sentence included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocabulary == 1:
            raise ValueError("spec.vocabulary is 1, but a language model needs at least 2 tokens to choose from.")
