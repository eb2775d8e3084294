"""Gradient clipping."""

from collections.abc import Iterable
from typing import Literal

from torch import nn

__all__ = ("ClipBy", "check_clipping", "clip_gradients")

ClipBy = Literal["norm", "value"]
"""What is limited: the norm of a whole gradient, or the absolute value of each of its entries."""


def check_clipping(by: str) -> None:
    """Refuses another way to clip than there is.

    Args:
        by: What `model.optim.clip_by` is.

    Raises:
        ValueError: naming the key.
    """
    if by not in ("norm", "value"):
        raise ValueError(f"model.optim.clip_by must be norm or value, not {by!r}.")


def clip_gradients(parameters: Iterable[nn.Parameter], largest: float, by: ClipBy = "norm") -> None:
    """Clips the gradients of parameters in place.

    Args:
        parameters: Those without a gradient are left out.
        largest: Norm, or absolute value; 0 does not clip.
        by: What is limited.
    """
    if not largest:
        return
    if by == "value":
        nn.utils.clip_grad_value_(parameters, largest)
    else:
        nn.utils.clip_grad_norm_(parameters, largest)
