"""CUDA graphs: a gradient is captured once and replayed, so that the device does not wait for thousands of launches.

What a search step computes between its batch and its gradients is the same sequence of kernels every time, as long as
no candidate is pruned. The updates stay outside of the graph: they are a few fused kernels, their learning rate
changes, and Lightning counts them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from lit_nas.batches import Batch, tensors_of

__all__ = ("CapturedGradient",)

WARM_UP = 3
"""Runs before the capture, in which libraries choose algorithms and allocate what they keep."""


class CapturedGradient:
    """The gradient of a mean loss as a CUDA graph.

    Args:
        loss: Mean loss of a batch. Captured once: what it decides on the host is frozen with it.
        batch: A batch like all that will follow, on the device: only the values of its tensors may change.
        parameters: With respect to these.
        state: What computing the loss changes, such as running statistics. Warming up leaves it as it was.
        pool: `pool` of a graph that still exists and never runs at the same time: both then use the same memory for
            what they need while they run. None makes a new pool, because that of a graph that is gone cannot be used.

    Raises:
        RuntimeError: from CUDA, if the loss waits for the device.
    """

    def __init__(
        self,
        loss: Callable[[Batch], Tensor],
        batch: Batch,
        parameters: Sequence[Tensor],
        state: Sequence[Tensor],
        pool: Any = None,
    ) -> None:
        self._batch = apply_to_collection(batch, Tensor, Tensor.clone)  # which keeps the layout of the memory
        self._tensors = tensors_of(self._batch)

        def run() -> tuple[list[Tensor | None], Tensor]:
            value = loss(self._batch)
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

    def __call__(self, batch: Batch) -> tuple[list[Tensor | None], Tensor]:
        """Replays the graph on a batch.

        Args:
            batch: The batch.

        Returns:
            One gradient per parameter, None for those without a path to the loss, and the loss. Gradients are
            overwritten by the next replay of any graph of the pool.
        """
        for static, new in zip(self._tensors, tensors_of(batch), strict=True):
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
