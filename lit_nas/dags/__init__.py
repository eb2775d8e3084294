"""Directed acyclic graphs: names, enumeration, features. Nothing here needs torch."""

from lit_nas.dags.dag import EXAMPLE, PREFIX, Dag, canonical_dag, canonical_name, parse_dag
from lit_nas.dags.enumeration import MeasuredDag, all_dags, cache_folder, measure
from lit_nas.dags.features import FeatureSpace, Point

__all__ = (
    "EXAMPLE",
    "PREFIX",
    "Dag",
    "FeatureSpace",
    "MeasuredDag",
    "Point",
    "all_dags",
    "cache_folder",
    "canonical_dag",
    "canonical_name",
    "measure",
    "parse_dag",
)
