"""Derivers: pure functions that make an architecture discrete."""

from lit_nas.derivation.argmax import ArgmaxPerEdge
from lit_nas.derivation.default import default_deriver
from lit_nas.derivation.deriver import Deriver, EmptyCellError, Masks
from lit_nas.derivation.every_choice import EveryChoice
from lit_nas.derivation.limited_skips import LimitedSkips
from lit_nas.derivation.top_edges import TopEdges
from lit_nas.derivation.top_pairs import TopPairs

__all__ = (
    "ArgmaxPerEdge",
    "Deriver",
    "EmptyCellError",
    "EveryChoice",
    "LimitedSkips",
    "Masks",
    "TopEdges",
    "TopPairs",
    "default_deriver",
)
