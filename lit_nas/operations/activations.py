"""Activations, the candidates of recurrent cells: functions of each value by itself, without weights."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ("ACTIVATIONS", "Activation")


def _identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": _identity,
}
"""By name, in the order of the columns of alpha of DARTS (Liu et al., 2019, section 3.1.2)."""


class Activation(nn.Module):
    """An activation as an operation of any cell.

    Args:
        name: A key of `ACTIVATIONS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self._function = name, ACTIVATIONS[name]

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, which stays."""
        return self._function(x)

    def extra_repr(self) -> str:
        """The name."""
        return self.name
