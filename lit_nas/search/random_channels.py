"""Random channels for partial channel connections."""

import torch
from torch import nn

from lit_nas.architecture import Architecture
from lit_nas.edges import RandomChannels
from lit_nas.relaxations.draw import generator_of

__all__ = ("draw_channels",)


def draw_channels(network: nn.Module, architecture: Architecture, step: int) -> None:
    """Draws for a step which channels the candidates of each edge see (`PartialChannels` with `choice: random`).

    What is drawn follows from the seed of the architecture, the step and the number of the edge, so it is the same on
    all processes, in all passes of a step, and when a run continues. All of it is copied to the device at once.

    Args:
        network: A search network; without such edges nothing is drawn.
        architecture: Knows the seed.
        step: Number of the step in the run.
    """
    edges = [each for each in network.modules() if isinstance(each, RandomChannels)]
    if not edges:
        return
    generator = generator_of(architecture.host_seed, step, "channels")
    sizes = [len(edge.order) for edge in edges]
    drawn = torch.cat([torch.randperm(size, generator=generator) for size in sizes])
    for edge, order in zip(edges, drawn.to(edges[0].order.device, non_blocking=True).split(sizes), strict=True):
        edge.order.copy_(order)
