"""Networks: a search network of a space, an evaluation network of a genotype."""

from lit_nas.networks.cell_inputs import CellInputs, check_image_size
from lit_nas.networks.complexity import count_multiply_adds, count_weights
from lit_nas.networks.darts_evaluation import EvaluationNetwork, FixedCell
from lit_nas.networks.darts_search import SearchCell, SearchNetwork
from lit_nas.networks.nas_bench_201 import NasBench201Network, NasBench201SearchNetwork
from lit_nas.networks.registry import build_evaluation_network, build_search_network

__all__ = (
    "CellInputs",
    "EvaluationNetwork",
    "FixedCell",
    "NasBench201Network",
    "NasBench201SearchNetwork",
    "SearchCell",
    "SearchNetwork",
    "build_evaluation_network",
    "build_search_network",
    "check_image_size",
    "count_multiply_adds",
    "count_weights",
)
