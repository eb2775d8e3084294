"""Compilation by regions: the convolutional candidates, each kind compiled once for every shape and level."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

__all__ = ("compiled",)

VARIANTS = 512
"""Compiled forms of one region: kinds, shapes, levels, modes, and numbers of edges that leave together."""


@cache
def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, compiled at its first call with arguments of a new kind; equal cells share the code.

    A region is one kind of candidate on one edge or on the edges that leave a state together, so that pruning and
    sampling choose among compiled forms instead of asking for new ones.
    """
    import torch._dynamo.config as config  # seconds of import that only compilation needs

    run = torch.compile(function, dynamic=False)

    def call(*arguments: object) -> Tensor:
        with config.patch(recompile_limit=VARIANTS, accumulated_recompile_limit=8 * VARIANTS):
            return run(*arguments)

    return call
