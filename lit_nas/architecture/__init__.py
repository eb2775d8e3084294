"""The architecture level of a search: parameters, masks and the clock, and the mixture made of them."""

from lit_nas.architecture.architecture import Architecture
from lit_nas.architecture.mixture import CellMixture, Mixture, Unselected
from lit_nas.relaxations import Active

__all__ = ("Active", "Architecture", "CellMixture", "Mixture", "Unselected")
