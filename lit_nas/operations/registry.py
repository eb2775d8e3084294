"""Candidate operations by name: the vocabulary of spaces, genotypes and logs."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from lit_nas.dags import EXAMPLE, PREFIX, parse_dag
from lit_nas.operations.activations import ACTIVATIONS, Activation
from lit_nas.operations.check import check_operations
from lit_nas.operations.convolution import (
    BatchNorm,
    DilatedConv,
    FactorizedConv,
    FactorizedReduce,
    ReLUConvBN,
    SeparableConv,
)
from lit_nas.operations.copies import COPIES
from lit_nas.operations.dag import DagCell
from lit_nas.operations.mobile import MBConv
from lit_nas.operations.paths import Zero
from lit_nas.operations.pooling import AvgPool, MaxPool
from lit_nas.operations.style import OperationStyle

__all__ = (
    "FAMILIES",
    "OPERATIONS",
    "OperationFactory",
    "OperationFamily",
    "build_operation",
    "find_operation",
    "known_operations",
    "register_operation",
)

OperationFactory = Callable[[int, int, int, OperationStyle], nn.Module]
"""(C of the input, C of the output, stride, style) -> module; raises ValueError for what it cannot change."""


def _same_channels(name: str, before: int, after: int) -> int:
    if before != after:
        raise ValueError(
            f"'{name}' cannot change the number of channels from {before} to {after}: give the position other "
            "candidates, or as many channels as it gets."
        )
    return before


def _skip(name: str) -> OperationFactory:
    def build(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
        if stride > 1:
            return FactorizedReduce(before, after, style.affine, style.conv_bias)
        _same_channels(name, before, after)
        return nn.Identity()

    return build


def _pool(name: str, kind: type[MaxPool] | type[AvgPool], size: int) -> OperationFactory:
    def build(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
        return kind(_same_channels(name, before, after), size, stride, style.pool_norm, style.affine)

    return build


def _nor_conv(size: int) -> OperationFactory:
    return lambda before, after, stride, style: ReLUConvBN(before, after, size, stride, style.affine, style.conv_bias)


def _convolution(kind: type[SeparableConv] | type[DilatedConv], size: int) -> OperationFactory:
    return lambda before, after, stride, style: kind(before, size, stride, style.affine, after, style.conv_bias)


def _mb_conv(size: int, expansion: int) -> OperationFactory:
    return lambda before, after, stride, style: MBConv(before, after, size, expansion, stride, style.affine)


def _dag(name: str) -> OperationFactory:
    dag = parse_dag(name)

    def build(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
        if stride != 1:
            raise ValueError(f"'{name}' keeps height and width, so it needs a position of stride 1, not {stride}.")
        return DagCell(dag, _same_channels(name, before, after), style.conv_bias)

    return build


OPERATIONS: dict[str, OperationFactory] = {
    "none": lambda before, after, stride, style: Zero(stride, None if before == after else after),
    "max_pool_3x3": _pool("max_pool_3x3", MaxPool, 3),
    "avg_pool_3x3": _pool("avg_pool_3x3", AvgPool, 3),
    "skip_connect": _skip("skip_connect"),
    "sep_conv_3x3": _convolution(SeparableConv, 3),
    "sep_conv_5x5": _convolution(SeparableConv, 5),
    "dil_conv_3x3": _convolution(DilatedConv, 3),
    "dil_conv_5x5": _convolution(DilatedConv, 5),
    "sep_conv_7x7": _convolution(SeparableConv, 7),
    "conv_7x1_1x7": lambda before, after, stride, style: FactorizedConv(before, 7, stride, style.affine, after),
    "max_pool_5x5": _pool("max_pool_5x5", MaxPool, 5),
    "avg_pool_5x5": _pool("avg_pool_5x5", AvgPool, 5),
    "nor_conv_1x1": _nor_conv(1),
    "nor_conv_3x3": _nor_conv(3),
    **{copy: _skip(copy) for copy in COPIES},
    "mb_conv_3x3_e3": _mb_conv(3, 3),
    "mb_conv_3x3_e6": _mb_conv(3, 6),
    "mb_conv_5x5_e3": _mb_conv(5, 3),
    "mb_conv_5x5_e6": _mb_conv(5, 6),
    "mb_conv_7x7_e3": _mb_conv(7, 3),
    "mb_conv_7x7_e6": _mb_conv(7, 6),
}
"""By name, what makes the module [B, C, H, W] -> [B, C', H / stride, W / stride]."""


@dataclass(frozen=True)
class OperationFamily:
    """Operations that are too many for a table: their names begin alike, and the rest says what they are."""

    example: str
    """One of their names, for messages."""
    find: Callable[[str], OperationFactory]
    """From a name to what makes the module; raises ValueError for what is no name of the family."""


FAMILIES: dict[str, OperationFamily] = {PREFIX: OperationFamily(EXAMPLE, _dag)}
"""By the beginning of their names; a name of `OPERATIONS` comes first."""


def _activation(name: str) -> OperationFactory:
    def build(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
        if stride != 1:
            raise ValueError(f"'{name}' keeps height and width, so it needs a position of stride 1, not {stride}.")
        _same_channels(name, before, after)
        return Activation(name)

    return build


def find_operation(name: str) -> OperationFactory | None:
    """What makes the operation of that name, alone, of a family or an activation; None if there is none.

    Args:
        name: As spaces, genotypes and logs have it.

    Raises:
        ValueError: if it begins like the names of a family and is none of them.
    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    if name in ACTIVATIONS:
        return _activation(name)
    family = next((family for prefix, family in FAMILIES.items() if name.startswith(prefix)), None)
    return None if family is None else family.find(name)


def known_operations() -> str:
    """The names of operations, for messages."""
    families = (f"all like {family.example}" for family in FAMILIES.values())
    return ", ".join((*OPERATIONS, *ACTIVATIONS, *families))


def register_operation(name: str, factory: OperationFactory) -> None:
    """Makes an operation of your own known to spaces and genotypes; called where it is defined.

    Args:
        name: How spaces, genotypes and logs name it.
        factory: (C of the input, C of the output, stride, style) -> module. Modules of classes that the engine `Fused`
            does not know run as they are.

    Raises:
        ValueError: if another operation has the name.
    """
    known = OPERATIONS.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (factory.__module__, factory.__qualname__):
        raise ValueError(f"There is an operation '{name}' already, of {known.__module__}. Choose another name.")
    OPERATIONS[name] = factory


def build_operation(
    name: str, channels: int, stride: int, style: OperationStyle, channels_out: int | None = None
) -> nn.Module:
    """Makes the operation of that name, [B, C, H, W] -> [B, C', H / stride, W / stride].

    Args:
        name: A key of `OPERATIONS`, or a name of a family.
        channels: C.
        stride: 1 or 2.
        style: How it is normalised.
        channels_out: C'; None means C.

    Raises:
        ValueError: if the name is unknown, or the operation cannot change the number of channels or the size.
    """
    check_operations((name,), "build_operation")
    factory = find_operation(name)
    assert factory is not None  # it has been checked
    operation = factory(channels, channels if channels_out is None else channels_out, stride, style)
    if not style.track_running_stats:
        for module in operation.modules():
            if isinstance(module, BatchNorm):
                module.untrack()
    return operation
