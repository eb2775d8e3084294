"""Callbacks: what a run logs and writes."""

from lit_nas.callbacks.alphas import LogAlphas
from lit_nas.callbacks.cost import MeasureCost
from lit_nas.callbacks.genotype import WriteGenotype

__all__ = ("LogAlphas", "MeasureCost", "WriteGenotype")
