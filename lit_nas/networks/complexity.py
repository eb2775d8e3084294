"""What a network costs: weights and multiply-adds."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lit_nas.internals import BatchNormKind
from lit_nas.operations import AvgPool, MaxPool
from lit_nas.specs import ImageSpec

__all__ = (
    "costs_by_layer",
    "count_multiply_adds",
    "count_weights",
    "memory_accesses",
    "multiply_adds",
    "multiply_adds_by_layer",
    "pooled_numbers",
    "run_for_shapes",
)


def count_weights(module: nn.Module) -> int:
    """Number of learned numbers.

    Papers leave the auxiliary head out: build the network without it to compare.

    Args:
        module: A network or a part of one, on any device.
    """
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds_by_layer(network: nn.Module, spec: ImageSpec, *more: Any) -> dict[str, int]:
    """Multiply-adds of each convolution and linear layer for one image, by the name of the layer.

    A copy of the network runs in evaluation mode with `run_for_shapes`, so an auxiliary head does not count.

    Args:
        network: Maps images to logits.
        spec: The size of its images.
        *more: Handed to the network after the images: the mixture of a search network.
    """
    return costs_by_layer(network, spec, lambda _, layer, output: multiply_adds(layer, output), *more)


def costs_by_layer(
    network: nn.Module, spec: ImageSpec, cost: Callable[[str, nn.Module, Tensor], int], *more: Any
) -> dict[str, int]:
    """What each layer costs for one image, by its name; layers that cost nothing are left out.

    A copy of the network runs in evaluation mode with `run_for_shapes`, so an auxiliary head does not count.

    Args:
        network: Maps images to logits.
        spec: The size of its images.
        cost: Of a layer, by its name, the module and its output; added up where a layer runs more than once.
        *more: Handed to the network after the images: the mixture of a search network.
    """
    counts: dict[str, int] = {}

    def add(name: str, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if count := cost(name, layer, output):
            counts[name] = counts.get(name, 0) + count

    network = copy.deepcopy(network).to("meta").eval()
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Identity, AvgPool, MaxPool)):
            module.register_forward_hook(partial(add, name))
    run_for_shapes(network, spec, *more)
    return counts


def multiply_adds(layer: nn.Module, output: Tensor) -> int:
    """Multiply-adds of a layer; none of anything but convolutions and linear layers."""
    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        return 0
    # every output number is one row of the weight times its inputs
    return output.numel() * layer.weight[0].numel()


def pooled_numbers(layer: nn.Module, output: Tensor) -> int:
    """How many numbers a pooling compares or adds; none of another layer."""
    return output.numel() * layer.kernel_size**2 if isinstance(layer, (AvgPool, MaxPool)) else 0


def memory_accesses(layer: nn.Module, output: Tensor, candidate: bool = False) -> int:
    """Numbers that a layer reads, its weights included, and writes, as SNAS counts them.

    The paper of ShuffleNet V2 (Ma et al., ECCV 2018, https://arxiv.org/abs/1807.11164) has the measure; BatchNorm and
    ReLU do not count. What is read is the output's area times the square of the stride, whatever the padding.

    Args:
        layer: A convolution, a linear layer, a pooling or an identity.
        output: What it gives.
        candidate: Whether an identity is a connection, which is read and written, and not just the place of a layer.
    """
    if isinstance(layer, nn.Linear):
        return output.numel() // layer.out_features * layer.in_features + output.numel() + count_weights(layer)
    if isinstance(layer, nn.Conv2d):
        read = output.numel() // layer.out_channels * layer.in_channels * layer.stride[0] * layer.stride[1]
        return read + output.numel() + count_weights(layer)
    if isinstance(layer, (AvgPool, MaxPool)):
        return output.numel() * (layer.stride**2 + 1)
    return 2 * output.numel() if candidate and isinstance(layer, nn.Identity) else 0


def run_for_shapes(network: nn.Module, spec: ImageSpec, *more: Any) -> None:
    """Runs a network on one image for its hooks, which see outputs of the right shape that hold zeros.

    Layers with weights compute nothing. The meta device would do as much, but brings in the compiler of torch, which
    takes longer to import than all the rest.

    Args:
        network: Maps images to logits; its weights may be anywhere.
        spec: The size of its images.
        *more: Handed to the network after the images.
    """
    replaced: Mapping[type[nn.Module], Callable[..., Tensor]] = {
        nn.Conv2d: _convolved,
        nn.Linear: _mapped,
        BatchNormKind: _kept,
    }
    changed = []
    for module in network.modules():
        for kind, answer in replaced.items():
            if isinstance(module, kind):
                module.forward = partial(answer, module)  # hides that of the class
                changed.append(module)
    try:
        with torch.no_grad():
            network(torch.zeros(1, spec.channels, spec.height, spec.width), *more)
    finally:
        for module in changed:
            del module.forward


def _convolved(module: nn.Conv2d, x: Tensor) -> Tensor:
    assert isinstance(module.padding, tuple)  # no name of torch's, which candidates do not use
    sides = zip(x.shape[2:], module.kernel_size, module.stride, module.padding, module.dilation, strict=True)
    size = [
        (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for side, kernel, stride, pad, dilation in sides
    ]
    return x.new_zeros(len(x), module.out_channels, *size)


def _mapped(module: nn.Linear, x: Tensor) -> Tensor:
    return x.new_zeros(*x.shape[:-1], module.out_features)


def _kept(module: nn.Module, x: Tensor) -> Tensor:
    return x


def count_multiply_adds(network: nn.Module, spec: ImageSpec) -> int:
    """Multiply-adds of all convolutions and linear layers for one image.

    One multiplication with its addition is one. BatchNorm, pooling and the sums of a cell do not count; papers that do
    count them print somewhat more, 574M instead of 530M for DARTS_V2 on ImageNet.

    Args:
        network: Maps images to logits.
        spec: The size of its images.
    """
    return sum(multiply_adds_by_layer(network, spec).values())
