"""Kinds of edges: what an edge of a search cell computes of its candidates, and what beside them."""

from lit_nas.edges.auxiliary_skip import AuxiliarySkip
from lit_nas.edges.constant_beside import ConstantBeside, One
from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan, Fusible
from lit_nas.edges.merged_conv import MergedConv
from lit_nas.edges.merged_convolutions import MergedConvolutions
from lit_nas.edges.mixed_edge import MixedEdge, PlainEdges
from lit_nas.edges.partial_channels import PartialChannels, RandomChannels
from lit_nas.edges.shared_dag_convs import SharedDagConvs

__all__ = (
    "AuxiliarySkip",
    "ConstantBeside",
    "Edge",
    "EdgeKind",
    "EdgePlan",
    "Fusible",
    "MergedConv",
    "MergedConvolutions",
    "MixedEdge",
    "One",
    "PartialChannels",
    "PlainEdges",
    "RandomChannels",
    "SharedDagConvs",
)
