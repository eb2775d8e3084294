"""The edges of a search cell that engines know."""

from torch import nn

from lit_nas.operations import OperationStyle, build_operation

__all__ = ("MixedEdge",)


class MixedEdge(nn.Module):
    """The candidates of one edge, whose weighted sum the edge contributes; an engine decides how they run.

    Args:
        operations: O names.
        channels: C.
        stride: 1 or 2.
        style: How the candidates are normalised.
    """

    def __init__(self, operations: tuple[str, ...], channels: int, stride: int, style: OperationStyle) -> None:
        super().__init__()
        self.stride = stride
        self.operations = nn.ModuleDict({name: build_operation(name, channels, stride, style) for name in operations})
