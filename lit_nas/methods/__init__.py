"""Methods: one file, one final class each. Tests and documentation walk over `__all__`."""

from lit_nas.methods.darts import DARTS
from lit_nas.methods.entmax_darts import EntmaxDARTS
from lit_nas.methods.parsec import PARSEC
from lit_nas.methods.snas import SNAS

__all__ = (
    "DARTS",
    "PARSEC",
    "SNAS",
    "EntmaxDARTS",
)
