"""Operations of exported networks, as plain PyTorch.

Files that `lit-nas export --format python` writes quote the classes that their network has, so this file imports
nothing of lit-nas, and names of submodules are those of the networks of lit-nas, whose weights they take. What only
matters while a network trains, paths that are dropped and the auxiliary head, is not here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = (
    "AvgPool",
    "ConvBN",
    "DagConv",
    "DepthwiseStage",
    "DilatedConv",
    "FactorizedConv",
    "FactorizedReduce",
    "MBConv",
    "MaxPool",
    "MobileConvBN",
    "ReLUConvBN",
    "SeparableConv",
    "Zero",
)


class ReLUConvBN(nn.Module):
    """ReLU, convolution, BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.norm(self.conv(F.relu(x)))


class ConvBN(nn.Module):
    """Convolution 3x3, BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.norm(self.conv(x))


class DepthwiseStage(nn.Module):
    """ReLU, depthwise convolution, pointwise convolution, BatchNorm."""

    def __init__(self, channels: int, kernel_size: int, stride: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        return self.norm(self.pointwise(self.depthwise(F.relu(x))))


class SeparableConv(nn.Sequential):
    """Two depthwise stages, the first of which takes the stride (`sep_conv_KxK`)."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            DepthwiseStage(channels, kernel_size, stride, dilation=1),
            DepthwiseStage(channels, kernel_size, stride=1, dilation=1),
        )


class DilatedConv(nn.Sequential):
    """A depthwise stage with dilation 2 (`dil_conv_KxK`)."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(DepthwiseStage(channels, kernel_size, stride, dilation=2))


class FactorizedConv(nn.Module):
    """ReLU, convolutions 1xK and Kx1, BatchNorm (`conv_7x1_1x7`)."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv_width = nn.Conv2d(channels, channels, (1, kernel_size), (1, stride), (0, padding), bias=False)
        self.conv_height = nn.Conv2d(channels, channels, (kernel_size, 1), (stride, 1), (padding, 0), bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        return self.norm(self.conv_height(self.conv_width(F.relu(x))))


class FactorizedReduce(nn.Module):
    """Halves H and W by two convolutions 1x1 on pixels shifted by one (`skip_connect` with a stride of 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_even = nn.Conv2d(in_channels, out_channels // 2, 1, 2, bias=False)
        self.conv_odd = nn.Conv2d(in_channels, out_channels // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2]; H and W even."""
        x = F.relu(x)
        return self.norm(torch.cat((self.conv_even(x), self.conv_odd(x[:, :, 1:, 1:])), 1))


class MaxPool(nn.Module):
    """Maximum over a window (`max_pool_KxK`), with BatchNorm behind it where there is one."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        return self.norm(F.max_pool2d(x, self.kernel_size, self.stride, self.kernel_size // 2))


class AvgPool(nn.Module):
    """Mean over a window without its padding (`avg_pool_KxK`), with BatchNorm behind it where there is one."""

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        padding = self.kernel_size // 2
        return self.norm(F.avg_pool2d(x, self.kernel_size, self.stride, padding, count_include_pad=False))


class Zero(nn.Module):
    """No connection (`none`): zeros of the right size."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class MobileConvBN(nn.Sequential):
    """Convolution, BatchNorm, ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels, eps=1e-3),
            nn.ReLU6(),
        )


class MBConv(nn.Module):
    """Expansion, depthwise convolution, projection (`mb_conv_KxK_eE`)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, expansion: int, stride: int = 1) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = (
            nn.Identity()
            if expansion == 1
            else nn.Sequential(nn.Conv2d(in_channels, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3), nn.ReLU6())
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, kernel_size, stride, kernel_size // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide, eps=1e-3),
            nn.ReLU6(),
        )
        self.project = nn.Sequential(
            nn.Conv2d(wide, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels, eps=1e-3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.project(self.depthwise(self.expand(x)))


class DagConv(nn.Sequential):
    """Convolution that keeps height and width, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias), nn.ReLU()
        )
