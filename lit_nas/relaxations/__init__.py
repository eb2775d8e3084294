"""Relaxations: small values that turn architecture parameters into mixing weights."""

from lit_nas.relaxations.entmax import Entmax
from lit_nas.relaxations.relaxation import Relaxation
from lit_nas.relaxations.sigmoid import Sigmoid
from lit_nas.relaxations.softmax import Softmax

__all__ = ("Entmax", "Relaxation", "Sigmoid", "Softmax")
