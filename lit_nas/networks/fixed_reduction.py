"""The reduction cell that GDAS does not search (FRC)."""

import torch
from torch import Tensor, nn

from lit_nas.networks.cell_inputs import CellInputs
from lit_nas.operations import BatchNorm, PointwiseConv, drop_path

__all__ = ("FixedReduction",)


class FixedReduction(nn.Module):
    """Two convolutional branches and two pooled ones, side by side.

    Args:
        inputs: Brings both inputs to C channels of one size.
        channels: C, a multiple of eight.
        affine: Whether BatchNorm is affine.
        bias: Whether its convolutions have biases.
    """

    groups = 8
    """Of the convolutions along the width and the height."""
    times = 4
    """It makes four times C channels."""

    def __init__(self, inputs: CellInputs, channels: int, affine: bool, bias: bool) -> None:
        super().__init__()
        self.inputs = inputs
        self.convolutions = nn.ModuleList(_branch(channels, self.groups, affine, bias) for _ in range(2))
        self.pools = nn.ModuleList(nn.Sequential(nn.MaxPool2d(3, 2, 1), BatchNorm(channels, affine)) for _ in range(2))

    def forward(self, before: Tensor, last: Tensor, drop_probability: float = 0.0) -> Tensor:
        """Outputs of cells k - 2 and k - 1 -> [B, 4C, H', W'], sizes halved and rounded up.

        Every branch is dropped with `drop_probability`, in training mode only.
        """
        states = self.inputs(before, last)
        paths = [path(state) for paths in (self.convolutions, self.pools)
                 for path, state in zip(paths, states, strict=True)]  # fmt: skip
        if self.training and drop_probability > 0:
            paths = [drop_path(path, drop_probability) for path in paths]
        return torch.cat(paths, 1)


def _branch(channels: int, groups: int, affine: bool, bias: bool) -> nn.Sequential:
    """ReLU, convolutions 1x3 and 3x1 that halve width and height, BatchNorm, ReLU, convolution 1x1, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 3), (1, 2), (0, 1), groups=groups, bias=bias),
        nn.Conv2d(channels, channels, (3, 1), (2, 1), (1, 0), groups=groups, bias=bias),
        BatchNorm(channels, affine),
        nn.ReLU(),
        PointwiseConv(channels, channels, bias=bias),
        BatchNorm(channels, affine),
    )
