"""What stands around the operations in exported networks, as plain PyTorch; quoted as `lit_nas.export.blocks` is."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.export.blocks import ConvBN, FactorizedReduce, ReLUConvBN

__all__ = (
    "CIFARStem",
    "CellInputs",
    "DagRow",
    "FixedReduction",
    "Head",
    "ImageNetStem",
    "MobileBlock",
    "ResidualBlock",
)


class CellInputs(nn.Module):
    """Brings the outputs of the two preceding cells to the channels and the size of a cell."""

    def __init__(self, channels_before: int, channels_last: int, channels: int, reduced: bool) -> None:
        super().__init__()
        kind = FactorizedReduce if reduced else ReLUConvBN  # twice as large, where the last cell has reduced
        self.before = kind(channels_before, channels)
        self.last = ReLUConvBN(channels_last, channels)

    def forward(self, before: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of cells k - 2 and k - 1 -> states 0 and 1, each [B, C, H, W]."""
        return self.before(before), self.last(last)


class FixedReduction(nn.Module):
    """The reduction cell that GDAS does not search: two branches of convolutions and two pooled ones."""

    def __init__(self, channels_before: int, channels_last: int, channels: int, reduced: bool) -> None:
        super().__init__()
        self.inputs = CellInputs(channels_before, channels_last, channels, reduced)
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, (1, 3), (1, 2), (0, 1), groups=8, bias=False),
                nn.Conv2d(channels, channels, (3, 1), (2, 1), (1, 0), groups=8, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            )
            for _ in range(2)
        )
        self.pools = nn.ModuleList(nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(channels)) for _ in range(2))

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Outputs of cells k - 2 and k - 1 -> [B, 4C, H / 2, W / 2]."""
        s0, s1 = self.inputs(before, last)
        paths = (self.convolutions[0](s0), self.convolutions[1](s1), self.pools[0](s0), self.pools[1](s1))
        return torch.cat(paths, 1)


class CIFARStem(nn.Module):
    """A convolution, for small images."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBN(in_channels, out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> the two inputs of the first cell, both [B, C', H, W]."""
        x = self.conv(images)
        return x, x


class ImageNetStem(nn.Module):
    """Three convolutions with stride 2, for large images."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.before = nn.Sequential(
            ConvBN(in_channels, channels // 2, 2), nn.ReLU(), ConvBN(channels // 2, channels, 2)
        )
        self.last = ReLUConvBN(channels, channels, 3, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> the two inputs of the first cell, [B, C', H / 4, W / 4] and [B, C', H / 8, W / 8]."""
        before = self.before(images)
        return before, self.last(before)


class ResidualBlock(nn.Module):
    """Two convolutions beside a pooled shortcut, between the stages of NAS-Bench-201."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ReLUConvBN(in_channels, out_channels, 3, 2)
        self.second = ReLUConvBN(out_channels, out_channels, 3)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2]; H and W even."""
        return self.second(self.first(x)) + self.shortcut(F.avg_pool2d(x, 2))


class Head(nn.Module):
    """BatchNorm, ReLU, global average pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C]."""
        return F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1).flatten(1)


class MobileBlock(nn.Module):
    """An operation, with a shortcut beside it where neither size nor channels change."""

    def __init__(self, operation: nn.Module, shortcut: bool) -> None:
        super().__init__()
        self.operation, self.shortcut = operation, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return x + self.operation(x) if self.shortcut else self.operation(x)


class DagRow(nn.Module):
    """What leads from the row before, and a cell."""

    def __init__(self, transition: nn.Module, cell: nn.Module) -> None:
        super().__init__()
        self.transition, self.cell = transition, cell

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2], in the first row [B, C, H, W]."""
        return self.cell(self.transition(x))
