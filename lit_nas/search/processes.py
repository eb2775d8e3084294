"""The architecture on several processes: apart from the synchronisation of DDP, and equal on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pytorch_lightning.strategies import DDPStrategy

from lit_nas.internals import expect_unused_parameters, keep_out_of_ddp

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("keep_architecture_apart", "share_architecture")


def keep_architecture_apart(module: SearchParts) -> None:
    """Excludes the architecture from DDP, which would wait for its gradients in a backward pass of the weights.

    Where a step may leave weights without a gradient, DDP is told not to wait for these either.

    Args:
        module: A search, before its strategy wraps it.
    """
    strategy, architecture = module.trainer.strategy, module.architecture
    if (module.leaves_weights_unused or architecture.skips) and isinstance(strategy, DDPStrategy):
        expect_unused_parameters(strategy)
    tensors = (*architecture.named_parameters(), *architecture.named_buffers())
    keep_out_of_ddp(module, (f"architecture.{name}" for name, _ in tensors))


def share_architecture(module: SearchParts) -> None:
    """Gives all processes the architecture of rank 0, which DDP does only for what it synchronises.

    Args:
        module: A search whose processes have met.
    """
    if module.trainer.world_size > 1:
        for tensor in module.architecture.state_dict(keep_vars=True).values():
            torch.distributed.broadcast(tensor.data, 0)
        module.architecture.forget()
