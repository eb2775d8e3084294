"""Candidates without convolution, and the random dropping of whole paths."""

import torch
from torch import Tensor, nn

__all__ = ("Zero", "drop_path")


class Zero(nn.Module):
    """No connection (`none`): zeros of the right size.

    Args:
        stride: Step by which H and W shrink.
        channels: C of the output; None keeps that of the input.
    """

    def __init__(self, stride: int, channels: int | None = None) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        if self.channels is None:
            return x[:, :, :: self.stride, :: self.stride] * 0.0
        return (x[:, :1, :: self.stride, :: self.stride] * 0.0).expand(-1, self.channels, -1, -1)


def drop_path(x: Tensor, probability: float | Tensor) -> Tensor:
    """Sets whole samples of a path to zero and scales the others, so that the mean stays.

    Args:
        x: [B, C, H, W].
        probability: Chance of dropping a sample, in [0, 1).

    Returns:
        [B, C, H, W]: x * m / (1 - p) with m of shape [B, 1, 1, 1] drawn from Bernoulli(1 - p).
    """
    keep = 1.0 - probability
    mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
    return x * (mask / keep)
