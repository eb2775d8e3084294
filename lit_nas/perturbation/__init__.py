"""Perturbations: small values that disturb the mixing weights while the weights of the network are trained."""

from lit_nas.perturbation.adversarial_smoothing import AdversarialSmoothing
from lit_nas.perturbation.noise import uniform
from lit_nas.perturbation.perturbation import Attack, CellWeights, Perturbation, Statistics, to_simplex
from lit_nas.perturbation.random_smoothing import RandomSmoothing

__all__ = (
    "AdversarialSmoothing",
    "Attack",
    "CellWeights",
    "Perturbation",
    "RandomSmoothing",
    "Statistics",
    "to_simplex",
    "uniform",
)
