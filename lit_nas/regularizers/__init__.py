"""Regularisers: small values that add to the loss of the architecture what its loss on data does not say."""

from lit_nas.regularizers.cost_target import CostTarget
from lit_nas.regularizers.entropy import Entropy
from lit_nas.regularizers.expected_cost import CostFactor, ExpectedCost
from lit_nas.regularizers.max_norm import MaxNorm
from lit_nas.regularizers.regularizer import ArchitectureView, CostedNetwork, Regularizer
from lit_nas.regularizers.resource_cost import ResourceCost
from lit_nas.regularizers.zero_one import ZeroOne

__all__ = (
    "ArchitectureView",
    "CostFactor",
    "CostTarget",
    "CostedNetwork",
    "Entropy",
    "ExpectedCost",
    "MaxNorm",
    "Regularizer",
    "ResourceCost",
    "ZeroOne",
)
