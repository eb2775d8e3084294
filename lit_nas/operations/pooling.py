"""Pooling candidates."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.operations.convolution import BatchNorm

__all__ = ("AvgPool", "MaxPool")


class _Pool(nn.Module, ABC):
    """A window, padded so that stride 1 keeps H and W.

    Args:
        channels: C.
        kernel_size: Odd side of the window.
        stride: Step of the window.
        norm: Whether BatchNorm follows.
        affine: Whether that is affine.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int, norm: bool, affine: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.norm = BatchNorm(channels, affine) if norm else nn.Identity()

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """The window alone; every edge leaving a node shares it."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        return self.norm(self.pool(x))


class MaxPool(_Pool):
    """Maximum over a window."""

    def pool(self, x: Tensor) -> Tensor:
        """The window alone."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.kernel_size // 2)


class AvgPool(_Pool):
    """Mean over a window; padding does not count."""

    def pool(self, x: Tensor) -> Tensor:
        """The window alone."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.kernel_size // 2, count_include_pad=False)
