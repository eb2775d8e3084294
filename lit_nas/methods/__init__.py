"""Methods: one file, one final class each. Tests and documentation walk over `__all__`."""

from lit_nas.methods.darts import DARTS
from lit_nas.methods.dropnas import DropNAS
from lit_nas.methods.entmax_darts import EntmaxDARTS
from lit_nas.methods.mergenas import MergeNAS

__all__ = (
    "DARTS",
    "DropNAS",
    "EntmaxDARTS",
    "MergeNAS",
)
