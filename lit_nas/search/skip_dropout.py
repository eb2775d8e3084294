"""Dropout after the skip connections of a search network, at a rate that changes over the search.

Paper: Chen et al., "P-DARTS", ICCV 2019, https://arxiv.org/abs/1904.12760, section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.edges import Edge
from lit_nas.operations import original
from lit_nas.relaxations.draw import seed_of
from lit_nas.schedules import Schedule
from lit_nas.search.masks import mask_parts
from lit_nas.spaces import CellSpace

__all__ = ("DroppedSkip", "drop_skips", "restore_skips")

SKIP = "skip_connect"


class DroppedSkip(nn.Module):
    """The identity, and while it is trained dropout of single elements: x * m / (1 - p), m from Bernoulli(1 - p).

    The mask follows from the seed of the architecture, the step, what it updates, the place in the network and the
    process. So all passes of a step see one mask, under recomputation and on every engine, and a run that continues
    sees those that it would have seen; the parts of an accumulated batch share it.

    Args:
        rate: p over the search, in [0, 1).
        architecture: Knows seed and time.
        place: Number of the skip connection in its network.
    """

    def __init__(self, rate: Schedule, architecture: Architecture, place: int) -> None:
        super().__init__()
        self.schedule, self.place = rate, place
        # a part of the search, not of the network: its parameters must not be found below this module
        self._owner = (architecture,)

    @property
    def rate(self) -> float:
        """The present p."""
        return float(self.schedule(self._owner[0].clock.moment()))

    def mask(self, x: Tensor, keep: float) -> Tensor:
        """Which elements stay, bool [B, C, H, W], with the layout of `x`.

        Args:
            x: [B, C, H, W].
            keep: Chance of each.
        """
        (architecture,) = self._owner
        seed = seed_of("skip dropout", *mask_parts(architecture, self.place))
        # drawn in one layout and then laid out, so that it does not depend on the engine
        drawn = torch.empty(x.shape, dtype=torch.bool, device=x.device)
        # where there are shapes without data, there is nothing to draw and no generator
        generator = None if x.is_meta else torch.Generator(x.device).manual_seed(seed)
        drawn.bernoulli_(keep, generator=generator)
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return drawn.contiguous(memory_format=torch.channels_last) if channels_last else drawn

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W].

        Raises:
            ValueError: if p is outside of [0, 1).
        """
        if not self.training or (rate := self.rate) == 0.0:
            return x
        if not 0.0 < rate < 1.0:
            raise ValueError(f"The rate of dropout after skip connections must be in [0, 1), but is {rate:.4g}.")
        return x * self.mask(x, 1.0 - rate) * (1.0 / (1.0 - rate))


def drop_skips(network: nn.Module, architecture: Architecture, rate: Schedule | None) -> list[nn.Module]:
    """Puts dropout after every skip connection of stride 1; one of stride 2 is a convolution and stays as it is.

    Neither parameters nor names of a checkpoint change.

    Args:
        network: A search network.
        architecture: That of the search.
        rate: p over the search, in the place of any other; None takes the dropout out.

    Returns:
        What the skip connections were before, for `restore_skips`.

    Raises:
        ValueError: if a skip connection is not a module of its own.
    """
    places = list(_places(network))
    before = [operations[name] for operations, name in places]
    for number, (operations, name) in enumerate(places):
        operations[name] = nn.Identity() if rate is None else DroppedSkip(rate, architecture, number)
    return before


def restore_skips(network: nn.Module, before: Sequence[nn.Module]) -> None:
    """Puts the skip connections back.

    Args:
        network: The network.
        before: What `drop_skips` has returned for it.
    """
    for (operations, name), skip in zip(_places(network), before, strict=True):
        operations[name] = skip


def _places(network: nn.Module) -> Iterator[tuple[nn.ModuleDict, str]]:
    """The candidates of an edge, and which of them is a skip connection of stride 1, in the order of the network.

    A space may have several copies of it (`operations.COPIES`).
    """
    for where, cell in network.named_modules():
        space = getattr(cell, "space", None)
        if not isinstance(space, CellSpace):
            continue
        for index, edge in enumerate(cell.get_submodule("edges").children()):
            if space.stride(index) > 1:
                continue
            operations = _operations(edge)
            for name in (name for name in space.names(index) if original(name) == SKIP):
                if name not in operations or type(operations[name]) not in (nn.Identity, DroppedSkip):
                    raise ValueError(
                        "Dropout after skip connections needs them as modules of their own, but "
                        f"'{where}.edges.{index}' ({type(edge).__name__}) computes them in another way. Leave the "
                        "dropout out (model.skip_dropout, or the callback SkipDropout), or choose other edges "
                        "(model.edges)."
                    )
                yield operations, name


def _operations(edge: nn.Module) -> nn.ModuleDict:
    fusible = edge.fusible if isinstance(edge, Edge) else None
    found = getattr(edge, "operations", None) if fusible is None else fusible.operations
    return found if isinstance(found, nn.ModuleDict) else nn.ModuleDict()
