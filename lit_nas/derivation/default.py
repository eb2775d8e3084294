"""The rule that belongs to a search space."""

from collections.abc import Mapping

from lit_nas.derivation.argmax import ArgmaxPerEdge
from lit_nas.derivation.deriver import Deriver
from lit_nas.derivation.top_edges import TopEdges
from lit_nas.spaces import DartsSpace, NasBench201Space, SearchSpace

__all__ = ("default_deriver",)

_DERIVERS: Mapping[type[SearchSpace], Deriver] = {DartsSpace: TopEdges(), NasBench201Space: ArgmaxPerEdge()}


def default_deriver(space: SearchSpace) -> Deriver:
    """The rule of the paper of a space: `TopEdges` for that of DARTS, `ArgmaxPerEdge` for that of NAS-Bench-201.

    Raises:
        ValueError: if the space has none.
    """
    if type(space) not in _DERIVERS:
        raise ValueError(f"The space {type(space).__name__} has no rule of its own: name one (model.deriver).")
    return _DERIVERS[type(space)]
