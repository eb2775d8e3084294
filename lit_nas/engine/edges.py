"""The edges of a search cell that engines know."""

from torch import nn

from lit_nas.operations import OperationStyle, build_operation

__all__ = ("MixedEdge",)


class MixedEdge(nn.Module):
    """The candidates of one edge, whose weighted sum the edge contributes; an engine decides how they run.

    Args:
        operations: O names.
        channels: C of the state that it reads.
        stride: 1 or 2.
        style: How the candidates are normalised.
        channels_out: C of the node; None means that of the state.
    """

    def __init__(
        self,
        operations: tuple[str, ...],
        channels: int,
        stride: int,
        style: OperationStyle,
        channels_out: int | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.operations = nn.ModuleDict(
            {name: build_operation(name, channels, stride, style, channels_out) for name in operations}
        )
