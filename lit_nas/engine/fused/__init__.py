"""The engine that computes candidates of one kind together."""

from lit_nas.engine.fused.fused import Fused

__all__ = ("Fused",)
