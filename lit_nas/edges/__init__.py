"""Kinds of edges: what an edge of a search cell computes of its candidates, and what beside them."""

from lit_nas.edges.auxiliary_skip import AuxiliarySkip
from lit_nas.edges.constant_beside import ConstantBeside
from lit_nas.edges.edge import Edge, EdgeKind, Fusible
from lit_nas.edges.merged_convolutions import MergedConvolutions
from lit_nas.edges.mixed_edge import MixedEdge, PlainEdges
from lit_nas.edges.partial_channels import PartialChannels, RandomChannels
from lit_nas.edges.shared_dag_convs import SharedDagConvs

__all__ = (
    "AuxiliarySkip",
    "ConstantBeside",
    "Edge",
    "EdgeKind",
    "Fusible",
    "MergedConvolutions",
    "MixedEdge",
    "PartialChannels",
    "PlainEdges",
    "RandomChannels",
    "SharedDagConvs",
)
