"""What an edge of a search cell is: a module that says by itself how engines may compute it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from lit_nas.operations import OperationStyle

if TYPE_CHECKING:
    from lit_nas.spaces import SearchSpace

__all__ = ("Edge", "EdgeKind", "EdgePlan", "Fusible")


@dataclass(frozen=True, eq=False)
class Fusible:
    """What an engine needs to know of an edge to compute it together with others.

    The edge stands for join(sum over o of w_o * o(x[:, :channels]), beside * path(x)). `join` is linear, so an engine
    may sum both arguments over all edges with an equal `join` that lead to a node, and join these sums once.
    """

    operations: nn.ModuleDict
    """The candidates by name, each [B, C', H, W] -> [B, C', H / stride, W / stride]. An edge that adds up all that it
    computes, without a path and a join, may leave some out: these it computes by its own `terms`."""
    channels: int | None = None
    """C', how many of the first channels of a state they see; None is all of them."""
    path: Callable[[Tensor], Tensor] | None = None
    """What is computed beside the candidates, of all channels. Edges with an equal path that leave a state share its
    value, so it is a module of the edge's own, or a value that compares by what it does."""
    join: Callable[[Tensor, Tensor], Tensor] | None = None
    """Makes one value of both sums; None adds them. Compares by what it does, like a frozen dataclass."""


class Edge(nn.Module, ABC):
    """The candidates of one edge, a module; what is chosen of it in the end is a `lit_nas.genotype.Edge`.

    Engines ask for its `terms`, so hooks belong on the candidates. A class with terms of its own runs as it is on every
    engine, unless it says what is `fusible` as well.
    """

    channels_out: int | None = None
    """C of the node; None means that of the state."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "terms" in vars(cls) and "fusible" not in vars(cls):
            # that of a base class is not true of other terms
            cls.fusible = None  # type: ignore[method-assign, assignment]  # a value in the place of a property

    @abstractmethod
    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """What the edge adds to its node, one term after the other.

        Args:
            x: The state that it leaves, [B, C, H, W].
            weights: Name of each active candidate, at least one -> what its output is multiplied by, 0-dim. What is
                left out is not computed.
            beside: Factor of what the edge computes beside its candidates (an auxiliary path, for example), 0-dim; None
                is 1.

        Yields:
            At least one term, [B, C, H / stride, W / stride].
        """

    def forward(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Tensor:
        """The sum of the terms, [B, C, H / stride, W / stride]."""
        terms = self.terms(x, weights, beside)
        total = next(terms)
        for term in terms:
            total = total + term
        return total

    @property
    def fusible(self) -> Fusible | None:
        """How an engine may compute the edge in the place of its terms; None lets it run as it is."""
        return None


@dataclass(frozen=True)
class EdgePlan:
    """What a kind of edge is told of the edge that it makes."""

    names: tuple[str, ...]
    """The candidates."""
    channels: int
    """C."""
    stride: int
    """1 or 2."""
    style: OperationStyle
    """How the candidates are normalised."""
    channels_out: int | None = None
    """C of the node; None means that of the state."""


class EdgeKind(ABC):
    """How a search network builds its edges; final subclasses are frozen dataclasses."""

    keeps_channels: ClassVar[bool] = True
    """Whether a node has the channels of the state, because something is computed beside the candidates."""

    def build(
        self,
        names: tuple[str, ...],
        channels: int,
        stride: int,
        style: OperationStyle,
        channels_out: int | None = None,
    ) -> Edge:
        """Makes an edge.

        Args:
            names: Its candidates.
            channels: C.
            stride: 1 or 2.
            style: How the candidates are normalised.
            channels_out: C of the node; None means that of the state.

        Raises:
            ValueError: if the kind does not fit the channels or the candidates.
        """
        if self.keeps_channels and channels_out not in (None, channels):
            raise ValueError(
                f"{type(self).__name__} keeps the number of channels, but an edge of this space leads from {channels} "
                f"to {channels_out}: set model.edges to PlainEdges."
            )
        return self.make(EdgePlan(names, channels, stride, style, channels_out))

    @abstractmethod
    def make(self, plan: EdgePlan) -> Edge:
        """Makes an edge, see `build`.

        Args:
            plan: What it is to be.

        Raises:
            ValueError: if the kind does not fit the channels or the candidates.
        """

    def check_space(self, space: SearchSpace) -> None:  # noqa: B027 - most fit every space
        """Refuses a space in which the kind of edge would change nothing, or not what its settings say.

        Args:
            space: What is searched.

        Raises:
            ValueError: naming what does not fit.
        """
