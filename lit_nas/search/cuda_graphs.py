"""CUDA graphs: a gradient is captured once and replayed, so that the device does not wait for thousands of launches.

What a search step computes between its batch and its gradients is the same sequence of kernels every time, as long as
no candidate is pruned. The updates stay outside of the graph: they are a few fused kernels, their learning rate
changes, and Lightning counts them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ("CapturedGradient",)

Pair = tuple[Tensor, Tensor]
WARM_UP = 3
"""Runs before the capture, in which libraries choose algorithms and allocate what they keep."""


class CapturedGradient:
    """The gradient of a mean loss as a CUDA graph.

    Args:
        loss: Mean loss of a batch. Captured once: what it decides on the host is frozen with it.
        pair: A batch of the shape that all batches will have, on the device.
        parameters: With respect to these.
        state: What computing the loss changes, such as running statistics. Warming up leaves it as it was.
        pool: `pool` of a graph that still exists and never runs at the same time: both then use the same memory for
            what they need while they run. None makes a new pool, because that of a graph that is gone cannot be used.

    Raises:
        RuntimeError: from CUDA, if the loss waits for the device.
    """

    def __init__(
        self,
        loss: Callable[[Pair], Tensor],
        pair: Pair,
        parameters: Sequence[Tensor],
        state: Sequence[Tensor],
        pool: Any = None,
    ) -> None:
        self._pair = (pair[0].clone(memory_format=torch.preserve_format), pair[1].clone())

        def run() -> tuple[list[Tensor | None], Tensor]:
            value = loss(self._pair)
            return list(torch.autograd.grad(value, list(parameters), allow_unused=True)), value.detach()

        saved = [tensor.clone() for tensor in state]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        # a resumed run warms up again, so warming up must not use up random numbers
        with _no_cast_cache(), torch.random.fork_rng([torch.cuda.current_device()]), torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(side)
        with torch.no_grad():
            for tensor, value in zip(state, saved, strict=True):
                tensor.copy_(value)
        self.pool = torch.cuda.graph_pool_handle() if pool is None else pool
        self._graph = torch.cuda.CUDAGraph()
        # "thread_local": what the threads of a data loader do at this moment does not concern the capture
        with _no_cast_cache(), torch.cuda.graph(self._graph, pool=self.pool, capture_error_mode="thread_local"):
            self._gradient, self._value = run()

    def __call__(self, pair: Pair) -> tuple[list[Tensor | None], Tensor]:
        """Replays the graph on a batch.

        Args:
            pair: The batch.

        Returns:
            One gradient per parameter, None for those without a path to the loss, and the loss. Gradients are
            overwritten by the next replay of any graph of the pool.
        """
        for static, new in zip(self._pair, pair, strict=True):
            static.copy_(new, non_blocking=True)
        self._graph.replay()
        return list(self._gradient), self._value.clone()


@contextmanager
def _no_cast_cache() -> Iterator[None]:
    """Makes autocast cast weights within the graph, which would otherwise keep the weights of its capture."""
    enabled = torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)
