"""Methods: one file, one final class each. Tests and documentation walk over `__all__`."""

from lit_nas.methods.darts import DARTS
from lit_nas.methods.dropnas import DropNAS
from lit_nas.methods.entmax_darts import EntmaxDARTS
from lit_nas.methods.fade import FaDE
from lit_nas.methods.gdas import GDAS
from lit_nas.methods.mergenas import MergeNAS
from lit_nas.methods.p_darts import PDARTS
from lit_nas.methods.parsec import PARSEC
from lit_nas.methods.pc_darts import PCDARTS
from lit_nas.methods.proxylessnas import ProxylessNAS
from lit_nas.methods.recurrent_darts import RecurrentDARTS
from lit_nas.methods.snas import SNAS
from lit_nas.methods.stacnas import StacNAS

__all__ = (
    "DARTS",
    "GDAS",
    "PARSEC",
    "PCDARTS",
    "PDARTS",
    "SNAS",
    "DropNAS",
    "EntmaxDARTS",
    "FaDE",
    "MergeNAS",
    "ProxylessNAS",
    "RecurrentDARTS",
    "StacNAS",
)
