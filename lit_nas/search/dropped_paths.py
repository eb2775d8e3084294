"""Drop path in a search network: what an edge adds to its node is missing for single samples.

Paper: Larsson, Maire, Shakhnarovich, "FractalNet", ICLR 2017, https://arxiv.org/abs/1605.07648; within a search in the
code of SNAS (Xie et al., ICLR 2019, https://arxiv.org/abs/1812.09926).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.relaxations.draw import generator_of
from lit_nas.schedules import Schedule
from lit_nas.search.masks import mask_parts
from lit_nas.spaces import CellSpace

__all__ = ("DroppedPaths",)


class DroppedPaths:
    """Multiplies all candidates of an edge by m / (1 - p), with one m from Bernoulli(1 - p) for each edge and sample.

    So the sum of the candidates is multiplied by it, whatever the engine and the kind of edge. The masks follow from
    the seed of the architecture, the step, what it updates, the edge and the process: all passes of a step see the
    same ones, under recomputation, too, and a run that continues those that it would have seen. The parts of an
    accumulated batch share them. Candidates run as their modules, because engines do not look behind hooks.

    Args:
        probability: p over the search, in [0, 1).
        architecture: Knows seed and time.
    """

    def __init__(self, probability: Schedule, architecture: Architecture) -> None:
        self.probability, self.architecture = probability, architecture
        self._masks: dict[int, tuple[Any, Tensor]] = {}  # the last one of each edge

    def attach(self, network: nn.Module) -> None:
        """Lets a network drop paths while it trains; neither parameters nor names of a checkpoint change.

        Args:
            network: With cells whose edges hold their candidates one by one.

        Raises:
            ValueError: if candidates share a kernel.
        """
        network.drops_paths = True  # type: ignore[assignment]  # a mark for those who capture steps
        place = 0
        for name, cell in network.named_modules():
            space = getattr(cell, "space", None)
            if not isinstance(space, CellSpace):
                continue
            for number, edge in enumerate(cell.get_submodule("edges").children()):
                operations = getattr(edge, "operations", None)
                if not isinstance(operations, nn.ModuleDict) or set(space.names(number)) - set(operations):
                    raise ValueError(
                        f"Paths are dropped behind candidates, but those of '{name}' are computed together: leave "
                        "model.drop_path out (null), or choose other edges."
                    )
                for operation in operations.values():
                    operation.register_forward_hook(partial(self._drop, place))
                place += 1

    def _drop(self, place: int, operation: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
        if not operation.training:
            return None
        now = self.architecture.clock.moment()
        if not 0.0 <= (probability := float(self.probability(now))) < 1.0:
            raise ValueError(f"model.drop_path must be in [0, 1), but is {probability:.4g} at epoch {now.epoch:.4g}.")
        return None if probability == 0.0 else output * self._mask(place, output, 1.0 - probability)

    def _mask(self, place: int, output: Tensor, keep: float) -> Tensor:
        """The factors m / (1 - p), [B, 1, 1, 1], drawn on the host."""
        parts = mask_parts(self.architecture, place)
        key = parts, keep, len(output), output.dtype, output.device
        if place not in self._masks or self._masks[place][0] != key:
            drawn = torch.rand(len(output), 1, 1, 1, dtype=torch.float64, generator=generator_of("drop path", *parts))
            mask = ((drawn < keep) / keep).to(output.dtype).to(output.device, non_blocking=True)
            self._masks[place] = key, mask
        return self._masks[place][1]
