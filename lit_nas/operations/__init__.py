"""Candidate operations by name: the vocabulary of spaces, genotypes and logs."""

from collections.abc import Callable

from torch import nn

from lit_nas.operations.convolution import (
    BatchNorm,
    ConvBN,
    DilatedConv,
    FactorizedConv,
    FactorizedReduce,
    PointwiseConv,
    ReLUConvBN,
    SeparableConv,
    pointwise,
)
from lit_nas.operations.paths import Zero, drop_path
from lit_nas.operations.pooling import AvgPool, MaxPool
from lit_nas.operations.style import EVALUATION, SEARCH, OperationStyle
from lit_nas.operations.synchronised import SynchronisedBatchNorm, part_norms, synchronise_norms

__all__ = (
    "EVALUATION",
    "OPERATIONS",
    "SEARCH",
    "AvgPool",
    "BatchNorm",
    "ConvBN",
    "DilatedConv",
    "FactorizedConv",
    "FactorizedReduce",
    "MaxPool",
    "OperationStyle",
    "PointwiseConv",
    "ReLUConvBN",
    "SeparableConv",
    "SynchronisedBatchNorm",
    "Zero",
    "build_operation",
    "check_operations",
    "drop_path",
    "part_norms",
    "pointwise",
    "synchronise_norms",
)


def _skip(channels: int, stride: int, style: OperationStyle) -> nn.Module:
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, style.affine)


def _nor_conv(channels: int, kernel_size: int, stride: int, style: OperationStyle) -> nn.Module:
    return ReLUConvBN(channels, channels, kernel_size, stride, style.affine, style.conv_bias)


OperationFactory = Callable[[int, int, OperationStyle], nn.Module]

OPERATIONS: dict[str, OperationFactory] = {
    "none": lambda channels, stride, style: Zero(stride),
    "max_pool_3x3": lambda channels, stride, style: MaxPool(channels, 3, stride, style.pool_norm),
    "avg_pool_3x3": lambda channels, stride, style: AvgPool(channels, 3, stride, style.pool_norm),
    "skip_connect": _skip,
    "sep_conv_3x3": lambda channels, stride, style: SeparableConv(channels, 3, stride, style.affine),
    "sep_conv_5x5": lambda channels, stride, style: SeparableConv(channels, 5, stride, style.affine),
    "dil_conv_3x3": lambda channels, stride, style: DilatedConv(channels, 3, stride, style.affine),
    "dil_conv_5x5": lambda channels, stride, style: DilatedConv(channels, 5, stride, style.affine),
    "sep_conv_7x7": lambda channels, stride, style: SeparableConv(channels, 7, stride, style.affine),
    "conv_7x1_1x7": lambda channels, stride, style: FactorizedConv(channels, 7, stride, style.affine),
    "max_pool_5x5": lambda channels, stride, style: MaxPool(channels, 5, stride, style.pool_norm),
    "avg_pool_5x5": lambda channels, stride, style: AvgPool(channels, 5, stride, style.pool_norm),
    "nor_conv_1x1": lambda channels, stride, style: _nor_conv(channels, 1, stride, style),
    "nor_conv_3x3": lambda channels, stride, style: _nor_conv(channels, 3, stride, style),
}
"""Name -> (channels, stride, style) -> module, [B, C, H, W] -> [B, C, H / stride, W / stride]."""


def check_operations(names: tuple[str, ...], where: str) -> None:
    """Refuses names that are not in `OPERATIONS`.

    Args:
        names: Operation names.
        where: What holds them, for the message: a configuration key, a file, a cell.

    Raises:
        ValueError: naming the unknown operations and listing the known ones.
    """
    if unknown := sorted(set(names) - set(OPERATIONS)):
        raise ValueError(f"Unknown operations {unknown} in {where}. Known are: {', '.join(OPERATIONS)}.")


def build_operation(name: str, channels: int, stride: int, style: OperationStyle) -> nn.Module:
    """Makes the operation of that name, [B, C, H, W] -> [B, C, H / stride, W / stride].

    Args:
        name: A key of `OPERATIONS`.
        channels: C of input and output.
        stride: 1 or 2.
        style: How it is normalised.

    Raises:
        ValueError: if the name is unknown.
    """
    check_operations((name,), "build_operation")
    operation = OPERATIONS[name](channels, stride, style)
    if not style.track_running_stats:
        for module in operation.modules():
            if isinstance(module, BatchNorm):
                module.untrack()
    return operation
