"""Retraining: a genotype, trained from scratch and tested."""

from lit_nas.retrain.language_optim import LanguageRetrainOptim
from lit_nas.retrain.language_retrain import LanguageRetrainModule
from lit_nas.retrain.retrain_module import RetrainModule, RetrainOptim
from lit_nas.retrain.retraining import Retraining

__all__ = ("LanguageRetrainModule", "LanguageRetrainOptim", "RetrainModule", "RetrainOptim", "Retraining")
