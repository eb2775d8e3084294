"""Candidate operations, their style, and their names.

Modules of torch are imported when they are first asked for, because a space is described without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lit_nas.operations.check import check_operations
from lit_nas.operations.copies import COPIES, original
from lit_nas.operations.style import EVALUATION, SEARCH, OperationStyle

if TYPE_CHECKING:
    from lit_nas.operations.activations import ACTIVATIONS, Activation
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
    from lit_nas.operations.dag import DagCell, DagConv, connections, init_kaiming, run_dag
    from lit_nas.operations.mobile import MBConv, MobileConvBN
    from lit_nas.operations.paths import Zero, drop_path
    from lit_nas.operations.pooling import AvgPool, MaxPool
    from lit_nas.operations.registry import OPERATIONS, build_operation, register_operation
    from lit_nas.operations.synchronised import SynchronisedBatchNorm, part_norms, synchronise_norms

__all__ = (
    "ACTIVATIONS",
    "COPIES",
    "EVALUATION",
    "OPERATIONS",
    "SEARCH",
    "Activation",
    "AvgPool",
    "BatchNorm",
    "ConvBN",
    "DagCell",
    "DagConv",
    "DilatedConv",
    "FactorizedConv",
    "FactorizedReduce",
    "MBConv",
    "MaxPool",
    "MobileConvBN",
    "OperationStyle",
    "PointwiseConv",
    "ReLUConvBN",
    "SeparableConv",
    "SynchronisedBatchNorm",
    "Zero",
    "build_operation",
    "check_operations",
    "connections",
    "drop_path",
    "init_kaiming",
    "original",
    "part_norms",
    "pointwise",
    "register_operation",
    "run_dag",
    "synchronise_norms",
)

_HOMES = {
    "activations": (
        "ACTIVATIONS",
        "Activation",
    ),
    "convolution": (
        "BatchNorm",
        "ConvBN",
        "DilatedConv",
        "FactorizedConv",
        "FactorizedReduce",
        "PointwiseConv",
        "ReLUConvBN",
        "SeparableConv",
        "pointwise",
    ),
    "dag": (
        "DagCell",
        "DagConv",
        "connections",
        "init_kaiming",
        "run_dag",
    ),
    "mobile": (
        "MBConv",
        "MobileConvBN",
    ),
    "paths": (
        "Zero",
        "drop_path",
    ),
    "pooling": (
        "AvgPool",
        "MaxPool",
    ),
    "registry": (
        "OPERATIONS",
        "build_operation",
        "register_operation",
    ),
    "synchronised": (
        "SynchronisedBatchNorm",
        "part_norms",
        "synchronise_norms",
    ),
}
"""Module -> the names that are imported from it when they are first asked for."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
