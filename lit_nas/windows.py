"""What data of token sequences yield: windows of several texts side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # data describe themselves without torch
    from torch import Tensor

__all__ = ("Window",)


class Window(NamedTuple):
    """A stretch of B token sequences, time first, as recurrent networks read it."""

    tokens: Tensor
    """int64 [T, B]."""
    targets: Tensor
    """The token after each of them, int64 [T, B]."""
    first: bool = False
    """Whether a pass over the text begins here, so that hidden states begin with zeros."""
    share: float = 1.0
    """Length that was drawn for the window over the usual one, by which the learning rate of its step is multiplied. A
    window that the end of the text cuts keeps the share of the length that was drawn."""
