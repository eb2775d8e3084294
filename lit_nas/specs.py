"""What a data set hands to a network: the one thing that data and models must agree on."""

from dataclasses import dataclass, fields
from typing import ClassVar

from lit_nas.tasks import Classification, Task

__all__ = ("ImageSpec", "Spec", "TextSpec")


@dataclass(frozen=True)
class Spec:
    """What data and a model agree on. Each kind of data has a subclass, a frozen dataclass of whole numbers and values.

    Every data module has one as `spec`, every model takes one as `spec`; on the command line the one flows into the
    other by itself. What searches, retrainings, checkpoints and the command line share knows no more than this class.

    Raises:
        ValueError: if a number is not positive.
    """

    samples: ClassVar[str] = "samples"
    """What `data.batch_size` counts, for messages."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"spec.{field.name} must be at least 1, not {value}.")


@dataclass(frozen=True)
class ImageSpec(Spec):
    """Shape of the images, number of their labels, and what a network is to say of them.

    Raises:
        ValueError: if a number is not positive, there is nothing to tell apart, or the task is none.
    """

    samples: ClassVar[str] = "images"

    channels: int = 3
    """Colour channels, C."""
    height: int = 32
    """Pixels, H."""
    width: int = 32
    """Pixels, W."""
    classes: int = 10
    """Number of labels, K; with `Regression` of the numbers to predict."""
    task: Task = Classification()
    """Loss, metrics and last layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.task, Task):
            raise ValueError(f"spec.task must be a task, such as Classification() or Regression(), not {self.task!r}.")
        self.task.check_spec(self)

    def __repr__(self) -> str:
        """As of any dataclass, without the task that most data have."""
        task = "" if self.task == Classification() else f", task={self.task!r}"
        return (
            f"ImageSpec(channels={self.channels}, height={self.height}, width={self.width}, "
            f"classes={self.classes}{task})"
        )


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
