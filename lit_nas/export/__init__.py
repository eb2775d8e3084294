"""Networks in formats that run without lit-nas: ONNX, programs of torch.export, Python files.

`export_network` is imported when it is first asked for, because command-line help needs the formats and not torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lit_nas.export.formats import FORMATS

if TYPE_CHECKING:
    from lit_nas.export.exporting import export_network

__all__ = ("FORMATS", "export_network")


def __getattr__(name: str) -> Any:
    if name == "export_network":
        return import_module("lit_nas.export.exporting").export_network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
