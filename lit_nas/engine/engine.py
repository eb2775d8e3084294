"""The performance boundary: a cell asks for its nodes, an engine computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from lit_nas.architecture import CellMixture
from lit_nas.edges import Edge
from lit_nas.spaces import CellSpace

__all__ = ("Engine", "MixedCell", "edges_of", "empty_node")


class MixedCell(Protocol):
    """What an engine asks of the cell of a search network."""

    space: CellSpace
    """Its DAG and candidates."""
    edges: nn.ModuleList
    """For each edge of the DAG an `Edge`."""


class Engine(ABC):
    """Computes the nodes of a search cell. Owns no parameters: a checkpoint of one engine loads into any other."""

    @abstractmethod
    def __call__(self, cell: MixedCell, states: list[Tensor], mixture: CellMixture) -> list[Tensor]:
        """Node t is the sum over its edges of what they make of their source.

        That is the sum over the active operations o of weights[e, o] * o(source) on a plain edge; other kinds do as
        their own terms say (`lit_nas.edges`).

        Args:
            cell: The cell, whose edges hold the operations.
            states: Its inputs, each [B, C, H, W].
            mixture: Weights and active pairs. An edge without such a pair takes no part.

        Returns:
            The nodes in order, each [B, C, H', W'] with H' = H, or H / 2 in a reduction cell; zeros where nothing
            is active.
        """

    @property
    def recomputes(self) -> bool:
        """Whether a backward pass computes parts of the forward pass a second time."""
        return False


def edges_of(cell: MixedCell) -> Sequence[Edge]:
    """The edges of a cell, as what they are: `nn.ModuleList` knows of modules only."""
    return cast("Sequence[Edge]", cell.edges)


def empty_node(cell: MixedCell, states: list[Tensor]) -> Tensor:
    """The value of a node without active edges: zeros, [B, C', H', W']."""
    batch, channels, height, width = states[0].shape
    channels = edges_of(cell)[0].channels_out or channels
    step = 2 if cell.space.reduction else 1
    return states[0].new_zeros(batch, channels, height // step, width // step)
