"""Gradients of a search: of batches that are cut into parts, scaled, averaged over processes, or replayed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_nas.batches import Pair
from lit_nas.optim import accumulate
from lit_nas.search.cuda_graphs import CapturedGradient
from lit_nas.search.loss_scale import LossScale

if TYPE_CHECKING:
    from lit_nas.search.search_module import SearchModule

__all__ = ("Gradients", "Loss")

Loss = Callable[[Pair], Tensor]
"""Mean loss of a batch."""


class Gradients:
    """Computes gradients as the settings of a search and its Trainer say: they are those of one whole batch.

    Args:
        module: Whose losses, parameters, settings and Trainer they are.
    """

    def __init__(self, module: SearchModule) -> None:
        self._module = module
        self._captured: dict[str, tuple[Any, CapturedGradient]] = {}

    def scale(self) -> LossScale:
        """The scale of the losses of this step."""
        return LossScale(getattr(self._module.trainer.precision_plugin, "scaler", None))

    def parts(self, pair: Pair) -> list[tuple[Pair, float]]:
        """The parts into which `optim.accumulate` cuts a batch, each with its share of the batch."""
        count, (images, labels) = self._module.optim.accumulate, pair
        if count == 1:
            return [(pair, 1.0)]
        parts = zip(images.chunk(count), labels.chunk(count), strict=True)
        return [((x, y), len(y) / len(labels)) for x, y in parts]

    def put(self, level: str, loss: Loss, pair: Pair, parameters: list[nn.Parameter]) -> Tensor:
        """Puts gradients where optimisers look: of weights averaged over processes, of anything else of this process.

        Args:
            level: Names the graph that computes them.
            loss: Mean loss of a batch.
            pair: The batch.
            parameters: All that require a gradient.

        Returns:
            The loss.
        """
        if self._module.optim.graphs:
            gradient, total = self._replay(level, loss, pair, parameters)
            for parameter, value in zip(parameters, gradient, strict=True):
                parameter.grad = value
            return total
        terms, parts = [], self.parts(pair)
        for index, (part, share) in enumerate(parts):
            last = index == len(parts) - 1
            with nullcontext() if last else self._without_synchronisation():
                value = share * loss(part)
                self._module.manual_backward(value)
            terms.append(value.detach())
        return sum(terms[1:], terms[0])

    def take(
        self, level: str, loss: Loss, pair: Pair, parameters: list[nn.Parameter], scale: LossScale
    ) -> tuple[list[Tensor], Tensor]:
        """The gradient of this process, of the scaled loss, and that loss; leaves `.grad` alone.

        Args:
            level: Names the graph that computes it.
            loss: Mean loss of a batch.
            pair: The batch.
            parameters: By what to differentiate.
            scale: Of the loss.
        """
        if self._module.optim.graphs:
            found, value = self._replay(level, loss, pair, parameters)
            return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)], value
        return accumulate((share * scale.value * loss(part) for part, share in self.parts(pair)), parameters)

    def mean_over_ranks(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean of tensors over all processes, in one message."""
        trainer = self._module.trainer
        if trainer.world_size == 1:
            return tensors
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat = trainer.strategy.reduce(flat, reduce_op="mean")
        return [part.view_as(t) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]

    def _without_synchronisation(self) -> AbstractContextManager[None]:
        """Keeps DDP from averaging gradients of a part before the last one."""
        return getattr(self._module.trainer.strategy, "block_backward_sync", nullcontext)()

    def _replay(
        self, level: str, loss: Loss, pair: Pair, parameters: list[nn.Parameter]
    ) -> tuple[list[Tensor | None], Tensor]:
        """Gradient and loss from the CUDA graph of a level, which is captured anew when its kernels change."""
        module = self._module
        active = [module.architecture.active(cell) for cell in module.architecture.space.cells]
        key = active, module.network.training, *((each.shape, each.dtype, each.device) for each in pair)
        if level not in self._captured or self._captured[level][0] != key:
            self._captured.pop(level, None)  # its memory first
            state = [buffer for norm in module.norms for buffer in norm.buffers()]
            pool = next((other.pool for _, other in self._captured.values()), None)
            self._captured[level] = key, CapturedGradient(loss, pair, parameters, state, pool)
        return self._captured[level][1](pair)
