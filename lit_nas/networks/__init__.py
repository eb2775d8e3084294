"""Networks: a search network of a space, an evaluation network of a genotype."""

from lit_nas.networks.search import MixedEdge, SearchCell, SearchNetwork
from lit_nas.networks.skeleton import CellInputs, check_image_size

__all__ = ("CellInputs", "MixedEdge", "SearchCell", "SearchNetwork", "check_image_size")
