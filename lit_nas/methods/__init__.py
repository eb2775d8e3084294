"""Methods: one file, one final class each. Tests and documentation walk over `__all__`."""

from lit_nas.methods.darts import DARTS

__all__ = ("DARTS",)
