"""Gradients of a search: of batches that are cut into parts, scaled, averaged over processes, or replayed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from lit_nas.batches import Batch
from lit_nas.optim import accumulate
from lit_nas.search.cuda_graphs import CapturedGradient
from lit_nas.search.loss_scale import LossScale

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("Gradients", "Loss")

Loss = Callable[[Batch], Tensor]
"""Mean loss of a batch."""


class Gradients:
    """Computes gradients as the settings of a search and its Trainer say: they are those of one whole batch.

    Args:
        module: Whose losses, parameters, settings and Trainer they are.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module
        self._captured: dict[str, tuple[Any, CapturedGradient]] = {}

    def scale(self) -> LossScale:
        """The scale of the losses of this step."""
        return LossScale(getattr(self._module.trainer.precision_plugin, "scaler", None))

    def parts(self, batch: Batch) -> list[tuple[Batch, float]]:
        """The parts into which `optim.accumulate` cuts a batch, each with its share of the batch.

        Raises:
            ValueError: if the module cuts so that something is lost or counted twice.
        """
        module, count = self._module, self._module.optim.accumulate
        if count == 1:
            return [(batch, 1.0)]
        parts, whole = module.cut(batch, count), module.size(batch)
        sizes = [module.size(part) for part in parts]
        if sum(sizes) != whole:
            raise ValueError(
                f"{type(module).__name__}.cut makes parts of the sizes {sizes} out of a batch of the size {whole}: "
                "each sample of the batch must be in exactly one part."
            )
        return [(part, size / whole) for part, size in zip(parts, sizes, strict=True)]

    def put(self, level: str, loss: Loss, batch: Batch, parameters: list[nn.Parameter]) -> Tensor:
        """Puts gradients where optimisers look: of weights averaged over processes, of anything else of this process.

        Args:
            level: Names the graph that computes them.
            loss: Mean loss of a batch.
            batch: The batch.
            parameters: All that require a gradient.

        Returns:
            The loss.
        """
        if self._module.optim.graphs:
            gradient, total = self._replay(level, loss, batch, parameters)
            for parameter, value in zip(parameters, gradient, strict=True):
                parameter.grad = value
            return total
        terms, parts = [], self.parts(batch)
        for index, (part, share) in enumerate(parts):
            last = index == len(parts) - 1
            with nullcontext() if last else self.without_synchronisation():
                value = share * loss(part)
                self._module.manual_backward(value)
            terms.append(value.detach())
        return sum(terms[1:], terms[0])

    def take(
        self, level: str, loss: Loss, batch: Batch, parameters: list[nn.Parameter], scale: LossScale
    ) -> tuple[list[Tensor], Tensor]:
        """The gradient of this process, of the scaled loss, and that loss; leaves `.grad` alone.

        Args:
            level: Names the graph that computes it.
            loss: Mean loss of a batch.
            batch: The batch.
            parameters: By what to differentiate.
            scale: Of the loss.
        """
        if self._module.optim.graphs:
            found, value = self._replay(level, loss, batch, parameters)
            return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)], value
        return accumulate((share * scale.value * loss(part) for part, share in self.parts(batch)), parameters)

    def mean_over_ranks(self, tensors: list[Tensor]) -> list[Tensor]:
        """The mean of tensors over all processes, in one message."""
        trainer = self._module.trainer
        if trainer.world_size == 1:
            return tensors
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        flat = trainer.strategy.reduce(flat, reduce_op="mean")
        return [part.view_as(t) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]

    def average(self, parameters: list[nn.Parameter]) -> None:
        """Averages gradients over all processes, which must have the same ones; DDP has not done it.

        Args:
            parameters: Each with a gradient.
        """
        if self._module.trainer.world_size > 1 and parameters:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            for parameter, value in zip(parameters, self.mean_over_ranks(gradients), strict=True):
                parameter.grad = value.contiguous()

    def without_synchronisation(self) -> AbstractContextManager[None]:
        """Keeps DDP from averaging the gradients of a backward pass."""
        return getattr(self._module.trainer.strategy, "block_backward_sync", nullcontext)()

    def _replay(
        self, level: str, loss: Loss, batch: Batch, parameters: list[nn.Parameter]
    ) -> tuple[list[Tensor | None], Tensor]:
        """Gradient and loss from the CUDA graph of a level, which is captured anew when its kernels change."""
        module = self._module
        active = [module.architecture.active(cell) for cell in module.architecture.space.cells]
        # all of the batch but the values of its tensors: what else it holds is frozen with the graph
        like = apply_to_collection(batch, Tensor, lambda tensor: (tensor.shape, tensor.dtype, tensor.device))
        key = active, module.network.training, like
        if level not in self._captured or self._captured[level][0] != key:
            self._captured.pop(level, None)  # its memory first
            state = [buffer for norm in module.norms for buffer in norm.buffers()]
            pool = next((other.pool for _, other in self._captured.values()), None)
            self._captured[level] = key, CapturedGradient(loss, batch, parameters, state, pool)
        return self._captured[level][1](batch)
