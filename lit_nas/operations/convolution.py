"""Convolutional candidates. Convolutions are without bias unless asked for, because BatchNorm follows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = (
    "BatchNorm",
    "ConvBN",
    "DilatedConv",
    "FactorizedConv",
    "FactorizedReduce",
    "PointwiseConv",
    "ReLUConvBN",
    "SeparableConv",
    "pointwise",
)


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm over [B, C, H, W] without the batch counter, which would cost one kernel per layer and step.

    Args:
        channels: C.
        affine: Whether scale and shift are learned.
    """

    momentum: float

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__(channels, affine=affine)
        self.num_batches_tracked = None  # only read when momentum is None, which it never is here

    def untrack(self) -> None:
        """Gives up running statistics: from now on the batch normalises, in evaluation, too."""
        self.track_running_stats = False
        self.running_mean = self.running_var = None


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, groups: int = 1) -> Tensor:
    """Convolution 1x1 in groups, [B, C, H, W] -> [B, C', H / stride, W / stride].

    A stride leaves out pixels before the convolution instead of within it: on processors without AVX-512 oneDNN
    computes wrong weight gradients of strided 1x1 convolutions of fewer than 8 channels in channels_last, or writes
    where it must not (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    return F.conv2d(x if stride == 1 else x[:, :, ::stride, ::stride], weight, bias, groups=groups)


class PointwiseConv(nn.Conv2d):
    """Convolution 1x1 with the parameters of `nn.Conv2d`, computed by `pointwise`.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: Step of the kernel.
        bias: Whether there is a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 1, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return pointwise(x, self.weight, self.bias, self.stride[0])


class ReLUConvBN(nn.Module):
    """ReLU, convolution, BatchNorm (`nor_conv_KxK`); with K = 1 it also brings the inputs of a cell to its channels.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Odd side of the kernel.
        stride: Step of the kernel.
        affine: Whether BatchNorm is affine.
        bias: Whether the convolution has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        affine: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv = (
            PointwiseConv(in_channels, out_channels, stride, bias)
            if kernel_size == 1
            else nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=bias)
        )
        self.norm = BatchNorm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.norm(self.conv(F.relu(x)))


class ConvBN(nn.Module):
    """Convolution 3x3 and BatchNorm without ReLU: the stem of a network.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: Step of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.norm(self.conv(x))


class DepthwiseStage(nn.Module):
    """ReLU, depthwise convolution, pointwise convolution, BatchNorm: the unit of separable and dilated convolutions."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        dilation: int,
        affine: bool,
        bias: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False
        )
        self.pointwise = PointwiseConv(channels, out_channels, bias=bias)
        self.norm = BatchNorm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(F.relu(x))))


class SeparableConv(nn.Sequential):
    """Depthwise stage twice; the first one takes the stride (`sep_conv_KxK`).

    Args:
        channels: C of the input.
        kernel_size: Odd side of the depthwise kernel.
        stride: Step of the first depthwise kernel.
        affine: Whether BatchNorm is affine.
        out_channels: C of the output, to which the second stage leads; None means C of the input.
        bias: Whether the pointwise convolutions have biases.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int,
        affine: bool,
        out_channels: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__(
            DepthwiseStage(channels, channels, kernel_size, stride, 1, affine, bias),
            DepthwiseStage(channels, out_channels or channels, kernel_size, 1, 1, affine, bias),
        )


class DilatedConv(nn.Sequential):
    """One depthwise stage with dilation 2 (`dil_conv_KxK`): a field of view of 2K - 1.

    Args:
        channels: C of the input.
        kernel_size: Odd side of the depthwise kernel.
        stride: Step of the depthwise kernel.
        affine: Whether BatchNorm is affine.
        out_channels: C of the output; None means C of the input.
        bias: Whether the pointwise convolution has a bias.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int,
        affine: bool,
        out_channels: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__(DepthwiseStage(channels, out_channels or channels, kernel_size, stride, 2, affine, bias))


class FactorizedConv(nn.Module):
    """ReLU, 1xK and Kx1 convolution, BatchNorm (`conv_7x1_1x7` of NASNet and AmoebaNet).

    Args:
        channels: C of the input.
        kernel_size: K, odd.
        stride: Step, along the width first and along the height second.
        affine: Whether BatchNorm is affine.
        out_channels: C of the output, to which the first convolution leads; None means C of the input.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int, affine: bool, out_channels: int | None = None
    ) -> None:
        super().__init__()
        k, p, out = kernel_size, kernel_size // 2, out_channels or channels
        self.conv_width = nn.Conv2d(channels, out, (1, k), (1, stride), (0, p), bias=False)
        self.conv_height = nn.Conv2d(out, out, (k, 1), (stride, 1), (p, 0), bias=False)
        self.norm = BatchNorm(out, affine)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.norm(self.conv_height(self.conv_width(F.relu(x))))


class FactorizedReduce(nn.Module):
    """Halves H and W with two 1x1 convolutions on pixels shifted by one, so that no pixel is ignored.

    Args:
        in_channels: C of the input.
        out_channels: C of the output, even.
        affine: Whether BatchNorm is affine.
        bias: Whether both convolutions have biases.

    Raises:
        ValueError: if `out_channels` is odd.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool, bias: bool = False) -> None:
        super().__init__()
        if out_channels % 2:
            raise ValueError(f"FactorizedReduce makes two equal halves, so out_channels={out_channels} must be even.")
        self.conv_even = PointwiseConv(in_channels, out_channels // 2, 2, bias)
        self.conv_odd = PointwiseConv(in_channels, out_channels // 2, 2, bias)
        self.norm = BatchNorm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / 2, W / 2]; H and W even."""
        x = F.relu(x)
        return self.norm(torch.cat((self.conv_even(x), self.conv_odd(x[:, :, 1:, 1:])), 1))
