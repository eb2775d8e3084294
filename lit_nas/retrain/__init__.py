"""Retraining: a genotype, trained from scratch and tested."""

from lit_nas.retrain.retrain_module import EvaluationModule, EvaluationOptim

__all__ = ("EvaluationModule", "EvaluationOptim")
