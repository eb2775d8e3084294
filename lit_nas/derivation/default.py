"""The rule that belongs to a search space."""

from lit_nas.derivation.argmax import ArgmaxPerEdge
from lit_nas.derivation.deriver import Deriver
from lit_nas.derivation.top_edges import TopEdges
from lit_nas.spaces import SearchSpace

__all__ = ("default_deriver",)


def default_deriver(space: SearchSpace) -> Deriver:
    """The rule of the paper of a space, by what the space says of itself.

    It is `TopEdges` where a node keeps some edges only (`edges_per_node`, 2 in the space of DARTS), and `ArgmaxPerEdge`
    elsewhere, for NAS-Bench-201 and for chains.

    Args:
        space: What is searched.
    """
    return ArgmaxPerEdge() if space.edges_per_node is None else TopEdges(space.edges_per_node)
