"""Graphs of a network: programs of torch.export, and ONNX."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from lit_nas.specs import ImageSpec

__all__ = ("run_onnx", "run_pt2", "write_onnx", "write_pt2")


def write_pt2(network: nn.Module, spec: ImageSpec, path: Path) -> None:
    """Writes a program of torch.export, which `torch.export.load(path).module()` runs.

    Args:
        network: Maps images to logits, in evaluation mode.
        spec: Its images.
        path: The file.
    """
    torch.export.save(_program(network, spec), path)


def write_onnx(network: nn.Module, spec: ImageSpec, path: Path) -> None:
    """Writes an ONNX model with the input `images` and the output `logits`, weights included.

    Args:
        network: Maps images to logits, in evaluation mode.
        spec: Its images.
        path: The file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        exported = torch.onnx.export(
            _program(network, spec), input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
        assert exported is not None  # as without a file to write
        exported.save(path, external_data=False)


def _program(network: nn.Module, spec: ImageSpec) -> torch.export.ExportedProgram:
    images = torch.zeros(2, spec.channels, spec.height, spec.width)  # of one image, the number would be fixed
    batch = torch.export.Dim("batch")
    return torch.export.export(network, (images,), dynamic_shapes={"images": {0: batch}})


def run_pt2(path: Path, images: Tensor) -> Tensor:
    """Logits of a program that was written.

    Args:
        path: The file.
        images: [B, C, H, W].
    """
    with torch.no_grad():
        return torch.export.load(path).module()(images)


def run_onnx(path: Path, images: Tensor) -> Tensor:
    """Logits of an ONNX model that was written, by onnxruntime.

    Args:
        path: The file.
        images: [B, C, H, W].
    """
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(logits)
