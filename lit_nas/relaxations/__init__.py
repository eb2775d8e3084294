"""Relaxations: small values that turn architecture parameters into mixing weights."""

from lit_nas.relaxations.relaxation import Relaxation
from lit_nas.relaxations.softmax import Softmax

__all__ = ("Relaxation", "Softmax")
