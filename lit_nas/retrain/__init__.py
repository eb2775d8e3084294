"""Retraining: a genotype, trained from scratch and tested."""

from lit_nas.retrain.retrain_module import EvaluationBatch, EvaluationModule, EvaluationOptim

__all__ = ("EvaluationBatch", "EvaluationModule", "EvaluationOptim")
