"""Networks: the search network of a space, the retraining network of a genotype, and which belong together."""

from lit_nas.networks.cell_inputs import CellInputs, check_image_size
from lit_nas.networks.complexity import count_multiply_adds, count_weights
from lit_nas.networks.dags import DagChainNetwork, DagNetwork, DagSearchNetwork
from lit_nas.networks.darts_evaluation import EvaluationNetwork, FixedCell
from lit_nas.networks.darts_search import SearchCell, SearchNetwork
from lit_nas.networks.language_model import LanguageModel, LanguageNetwork, LanguageOutput
from lit_nas.networks.mobile import MobileCIFARNetwork, MobileNetwork, MobileSearchNetwork, ProxylessNetwork
from lit_nas.networks.nas_bench_201 import NasBench201Network, NasBench201SearchNetwork
from lit_nas.networks.paper_networks import CIFARNetwork, ImageNetNetwork, NasBench201CIFARNetwork
from lit_nas.networks.recurrent_cells import RecurrentCell, RecurrentSearchCell
from lit_nas.networks.registry import build_retrain_network, build_search_network, register_space
from lit_nas.networks.retrain_network import RetrainNetwork

__all__ = (
    "CIFARNetwork",
    "CellInputs",
    "DagChainNetwork",
    "DagNetwork",
    "DagSearchNetwork",
    "EvaluationNetwork",
    "FixedCell",
    "ImageNetNetwork",
    "LanguageModel",
    "LanguageNetwork",
    "LanguageOutput",
    "MobileCIFARNetwork",
    "MobileNetwork",
    "MobileSearchNetwork",
    "NasBench201CIFARNetwork",
    "NasBench201Network",
    "NasBench201SearchNetwork",
    "ProxylessNetwork",
    "RecurrentCell",
    "RecurrentSearchCell",
    "RetrainNetwork",
    "SearchCell",
    "SearchNetwork",
    "build_retrain_network",
    "build_search_network",
    "check_image_size",
    "count_multiply_adds",
    "count_weights",
    "register_space",
)
