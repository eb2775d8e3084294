"""Engines: how the candidates of a search cell are computed. All of them compute the same."""

from lit_nas.engine.engine import Engine, MixedCell, empty_node
from lit_nas.engine.fused import Fused
from lit_nas.engine.reference import Reference

__all__ = ("Engine", "Fused", "MixedCell", "Reference", "empty_node")
