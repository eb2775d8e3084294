"""Relaxations: small values that turn architecture parameters into mixing weights."""

from lit_nas.relaxations.binary_gates import BinaryGates
from lit_nas.relaxations.categorical import Categorical, CategoricalPairs
from lit_nas.relaxations.draw import Active, Draw, Occasion, Updates
from lit_nas.relaxations.entmax import Entmax
from lit_nas.relaxations.grouped_dropout import GroupedDropout
from lit_nas.relaxations.gumbel_softmax import GumbelSoftmax
from lit_nas.relaxations.relaxation import Best, Mean, Relaxation
from lit_nas.relaxations.sigmoid import Sigmoid
from lit_nas.relaxations.softmax import Softmax

__all__ = (
    "Active",
    "Best",
    "BinaryGates",
    "Categorical",
    "CategoricalPairs",
    "Draw",
    "Entmax",
    "GroupedDropout",
    "GumbelSoftmax",
    "Mean",
    "Occasion",
    "Relaxation",
    "Sigmoid",
    "Softmax",
    "Updates",
)
