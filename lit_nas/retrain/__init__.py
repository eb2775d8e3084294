"""Retraining: a genotype, trained from scratch and tested."""

from lit_nas.retrain.retrain_module import RetrainModule, RetrainOptim

__all__ = ("RetrainModule", "RetrainOptim")
