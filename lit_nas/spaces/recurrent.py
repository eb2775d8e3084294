"""The recurrent search space of DARTS.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, sections 2.1 and 3.1.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lit_nas.spaces.darts import MOST_NODES
from lit_nas.spaces.space import CellSpace, Position, SearchSpace
from lit_nas.specs import Spec, TextSpec

if TYPE_CHECKING:
    from lit_nas.genotype import CellGenotype

__all__ = ("RECURRENT_OPERATIONS", "RecurrentSpace")

RECURRENT_OPERATIONS = ("none", "tanh", "relu", "sigmoid", "identity")
"""The five candidates in the paper's order, which is the order of the columns of alpha."""


@dataclass(frozen=True)
class RecurrentSpace(SearchSpace):
    """One recurrent cell. State 0 is made of the token and of the last hidden state; each node sees all earlier states.

    With the defaults alpha has 36 rows (edges; node 1 <- 0, node 2 <- 0, 1, and so on) and 5 columns (activations), and
    the search network 4,810,000 weights for 10,000 words. The output is the mean of the nodes, without state 0.

    Raises:
        ValueError: if a number is out of range, or an operation is no activation.
    """

    name = "recurrent"
    spec_class: ClassVar[type[Spec]] = TextSpec
    genotype_cells = ("recurrent",)
    edges_per_node = 1

    width: int = 300
    """d: size of embedding, hidden state and all states, which are the same, because weights are tied and states added
    up."""
    nodes: int = 8
    """Intermediate nodes."""
    operations: tuple[str, ...] = RECURRENT_OPERATIONS
    """Names of activations, and `none`."""
    track_running_stats: bool = False
    """Whether the BatchNorm of the search keeps running statistics and evaluates by them, as in the authors' code. It
    is one for nine places and all time steps, whose statistics mix; without them it always normalises by the batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))  # lists come from YAML
        for name in ("width", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"space.{name} must be at least 1, not {getattr(self, name)}.")
        if self.nodes > MOST_NODES:
            raise ValueError(f"space.nodes must be at most {MOST_NODES}, not {self.nodes}.")
        if foreign := sorted(set(self.operations) - set(RECURRENT_OPERATIONS)):
            raise ValueError(
                f"space.operations names {foreign}, which are no activations of a recurrent cell. Known are: "
                f"{', '.join(RECURRENT_OPERATIONS)}."
            )
        _ = self.cells  # validates the operations

    @property
    def cells(self) -> dict[str, CellSpace]:
        """The only type, `recurrent`."""
        edges = tuple((source, target) for target in range(1, 1 + self.nodes) for source in range(target))
        return {"recurrent": CellSpace("recurrent", self.operations, edges, num_inputs=1)}

    @property
    def layout(self) -> tuple[Position, ...]:
        """A single cell."""
        return (Position("recurrent", self.width),)

    @classmethod
    def check_genotype(cls, cells: Mapping[str, "CellGenotype"]) -> None:
        """Refuses cells whose nodes are not an activation of one earlier state each.

        Args:
            cells: By type.

        Raises:
            ValueError: if there is not one cell `recurrent`, or a node is something else.
        """
        super().check_genotype(cells)
        cell, known = cells["recurrent"], set(RECURRENT_OPERATIONS) - {"none"}
        targets = [edge.target for edge in cell.edges]
        if list(cells) != ["recurrent"] or cell.inputs != 1 or targets != list(range(1, 1 + len(targets))):
            raise ValueError(
                f"A genotype of the space '{cls.name}' has one cell 'recurrent' with 1 input, whose nodes 1, 2 and so "
                f"on have one edge each, but this one has {', '.join(cells)}, {cell.inputs} input(s) and edges to the "
                f"nodes {targets}."
            )
        if foreign := sorted({edge.operation for edge in cell.edges} - known):
            raise ValueError(
                f"cells.recurrent.nodes names {foreign}, but nodes of a recurrent cell have one of the activations "
                f"{', '.join(sorted(known))}."
            )
