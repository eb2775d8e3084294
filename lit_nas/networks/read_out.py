"""What the last layer of a network reads."""

from torch import Tensor
from torch.nn import functional as F

from lit_nas.specs import ImageSpec

__all__ = ("check_auxiliary", "read_out")


def read_out(maps: Tensor, dense: bool) -> Tensor:
    """What the head of a task reads, see `Task.head`.

    Args:
        maps: [B, C, h, w].
        dense: Whether the task speaks of each pixel.

    Returns:
        The maps themselves, or their means [B, C].
    """
    return maps if dense else F.adaptive_avg_pool2d(maps, 1).flatten(1)


def check_auxiliary(spec: ImageSpec) -> None:
    """Refuses an auxiliary head where it has nothing to read: it sees one vector of an image.

    Raises:
        ValueError: for a task that speaks of each pixel.
    """
    if spec.task.dense:
        raise ValueError(
            f"The auxiliary head says one thing of a whole image, but {type(spec.task).__name__} (spec.task) speaks of "
            "each pixel: set model.optim.auxiliary_weight to 0 (auxiliary=False in Python)."
        )
