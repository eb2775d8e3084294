"""Inverted residuals: the candidates of mobile networks.

Papers: Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381 (MobileNetV2); Cai, Zhu, Han, ICLR 2019,
https://arxiv.org/abs/1812.00332 (ProxylessNAS), whose numbers of BatchNorm these are.
"""

from torch import Tensor, nn

from lit_nas.operations.convolution import BatchNorm, PointwiseConv

__all__ = ("MBConv", "MobileConvBN")

EPS = 1e-3
"""What BatchNorm of the mobile networks adds to variances."""


def _norm(channels: int, affine: bool) -> BatchNorm:
    norm = BatchNorm(channels, affine)
    norm.eps = EPS
    return norm


class MobileConvBN(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU6: the first and the last convolution of a mobile network.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Odd side of the kernel.
        stride: Step of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        convolution = (
            PointwiseConv(in_channels, out_channels, stride)
            if kernel_size == 1
            else nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        )
        super().__init__(convolution, _norm(out_channels, True), nn.ReLU6(inplace=True))


class MBConv(nn.Module):
    """Expansion, depthwise convolution, projection, each with BatchNorm, ReLU6 after all but the last (`mb_conv_*`).

    It has no shortcut of its own: a network adds one where the sizes of its input and output are the same.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Odd side of the depthwise kernel.
        expansion: How many times as wide the inside is; 1 leaves the first convolution out.
        stride: Step of the depthwise kernel.
        affine: Whether BatchNorm is affine.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        expansion: int,
        stride: int = 1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = (
            nn.Identity()
            if expansion == 1
            else nn.Sequential(PointwiseConv(in_channels, wide), _norm(wide, affine), nn.ReLU6(inplace=True))
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, kernel_size, stride, kernel_size // 2, groups=wide, bias=False),
            _norm(wide, affine),
            nn.ReLU6(inplace=True),
        )
        self.project = nn.Sequential(PointwiseConv(wide, out_channels), _norm(out_channels, affine))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.project(self.depthwise(self.expand(x)))
