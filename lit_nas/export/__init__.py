"""Networks in formats that run without lit-nas: ONNX, programs of torch.export, Python files."""

from lit_nas.export.export_network import FORMATS, export_network

__all__ = ("FORMATS", "export_network")
