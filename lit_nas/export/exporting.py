"""Writing a network in a format that runs without lit-nas, and comparing what was written with the network."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from lit_nas.atomic_write import write_text
from lit_nas.export.formats import check_target
from lit_nas.export.programs import run_onnx, run_pt2, write_onnx, write_pt2
from lit_nas.export.python_code import python_code
from lit_nas.specs import ImageSpec

__all__ = ("export_network",)

TOLERANCE = 1e-5
"""Largest difference between what was written and the network, as a part of the largest logit where that is above 1."""


def export_network(
    network: nn.Module, spec: ImageSpec, path: str | Path, format: str, about: str = "", weights: bool = True
) -> float:
    """Writes a network, reads it back, and compares the logits of three random images.

    All formats map images [B, C, H, W] to logits [B, K] as the network does in evaluation mode, for any B. A Python
    file has its weights in a file beside it, `NAME.pt`. The auxiliary head, which only trains, is left out.

    Args:
        network: Of a genotype, as `build_retrain_network` makes it: it maps images to logits and auxiliary logits.
        spec: Its images and labels.
        path: The file; its suffix is that of the format.
        format: `onnx` (of torch.onnx, one file), `pt2` (of torch.export) or `python` (plain PyTorch).
        about: What the network is, for the head of a Python file.
        weights: Whether a Python file has weights beside it; the other formats always hold them.

    Returns:
        The largest difference of logits that was found.

    Raises:
        ValueError: if the format is unknown, the suffix is another one, a package is missing, Python cannot express the
            network, or what was written computes something else.
        IsADirectoryError: if the path is a folder.
    """
    path = Path(path)
    check_target(path, format)
    network = _for_evaluation(network)
    images = torch.randn(3, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "python":
        found = _write_python(network, spec, path, about, weights, images)
    elif format == "pt2":
        write_pt2(_Logits(network), spec, path)
        found = run_pt2(path, images)
    else:
        write_onnx(_Logits(network), spec, path)
        found = run_onnx(path, images)
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):  # nor is nan
        path.unlink()
        if format == "python" and weights:
            path.with_suffix(".pt").unlink()
        raise ValueError(
            f"The exported network differs from the original by {difference:.2g}, which is more than {TOLERANCE}, so "
            "nothing was written: a part of it is not what its name says, or its logits are not finite."
        )
    return difference


class _Logits(nn.Module):
    """A network without its second output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


def _for_evaluation(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode and without an auxiliary head."""
    network = copy.deepcopy(network).to("cpu", torch.float32).eval().requires_grad_(False)
    if isinstance(getattr(network, "auxiliary", None), nn.Module):
        network.auxiliary = None  # type: ignore[assignment]  # to torch an attribute is a tensor or a module
    return network


def _write_python(network: nn.Module, spec: ImageSpec, path: Path, about: str, weights: bool, images: Tensor) -> Tensor:
    """Writes the file, executes it, and returns the logits of the network that it makes."""
    text, state = python_code(network, spec, about, weights), network.state_dict()
    write_text(path, text)
    if weights:
        # as a plain dict, so that counters of batches, which BatchNorm of torch has besides, may be missing
        torch.save({name: value.clone() for name, value in state.items()}, path.with_suffix(".pt"))
    space: dict[str, object] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(text, str(path), "exec"), space)
    made: nn.Module = space["Network"]()  # type: ignore[operator]
    made.load_state_dict(dict(state))
    with torch.no_grad():
        return made.eval()(images)
