"""Methods: one file, one final class each. Tests and documentation walk over `__all__`."""

from lit_nas.methods.darts import DARTS
from lit_nas.methods.entmax_darts import EntmaxDARTS
from lit_nas.methods.gdas import GDAS
from lit_nas.methods.pc_darts import PCDARTS

__all__ = (
    "DARTS",
    "GDAS",
    "PCDARTS",
    "EntmaxDARTS",
)
