"""What a network costs: weights and multiply-adds."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from lit_nas.inputs import ImageSpec

__all__ = ("count_multiply_adds", "count_weights", "multiply_adds_by_layer")


def count_weights(module: nn.Module) -> int:
    """Number of learned numbers.

    Papers leave the auxiliary head out: build the network without it to compare.

    Args:
        module: A network or a part of one, on any device.
    """
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds_by_layer(network: nn.Module, inputs: ImageSpec) -> dict[str, int]:
    """Multiply-adds of each convolution and linear layer for one image, by the name of the layer.

    Nothing is computed: a copy of the network runs in evaluation mode on the meta device, so an auxiliary head
    does not count.

    Args:
        network: Maps images to logits.
        inputs: The size of its images.
    """
    counts: dict[str, int] = {}
    network = copy.deepcopy(network).to("meta").eval()
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(partial(_add, counts, name))
    with torch.no_grad():
        network(torch.empty(1, inputs.channels, inputs.height, inputs.width, device="meta"))
    return counts


def count_multiply_adds(network: nn.Module, inputs: ImageSpec) -> int:
    """Multiply-adds of all convolutions and linear layers for one image.

    One multiplication with its addition is one. BatchNorm, pooling and the sums of a cell do not count; papers that do
    count them print somewhat more, 574M instead of 530M for DARTS_V2 on ImageNet.

    Args:
        network: Maps images to logits.
        inputs: The size of its images.
    """
    return sum(multiply_adds_by_layer(network, inputs).values())


def _add(counts: dict[str, int], name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
    # every output number is one row of the weight times its inputs
    counts[name] = counts.get(name, 0) + output.numel() * module.weight[0].numel()
