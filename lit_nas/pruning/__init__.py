"""Which candidates are taken out of a search while it runs."""

from lit_nas.pruning.pruning import Pruning

__all__ = ("Pruning",)
