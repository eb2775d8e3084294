"""How alike the outputs of candidates are, and groups of those that are."""

from lit_nas.correlation.clustering import Clustering
from lit_nas.correlation.correlations import Correlations, EdgeCorrelation
from lit_nas.correlation.feature_moments import Definition, FeatureMoments
from lit_nas.correlation.operator_correlation import OperatorCorrelation

__all__ = ("Clustering", "Correlations", "Definition", "EdgeCorrelation", "FeatureMoments", "OperatorCorrelation")
