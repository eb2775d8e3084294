"""How much memory a loss keeps."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ("WatchHeld", "held_for_backward")


@contextmanager
def _saved_storages() -> Iterator[dict[int, int]]:
    """Bytes by address of what autograd saves for a backward pass, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output that refers to itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield storages


def held_for_backward(loss: Callable[[], Tensor]) -> int:
    """Bytes that autograd holds between a forward pass and its backward pass, each storage counted once.

    Args:
        loss: Makes the loss, which is thrown away. Weights that it refers to count, too.
    """
    with _saved_storages() as storages:
        value = loss()
    del value
    return sum(storages.values())


class WatchHeld:
    """Notes what forward passes that happen anyway keep for their backward pass.

    Args:
        module: Whose forward passes are watched until `stop`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._most: int | None = None
        self._within = ExitStack()
        self._storages: dict[int, int] = {}
        self._hooks = (
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, always_call=True),
        )

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        self._storages = self._within.enter_context(_saved_storages())

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self._within.close()
        self._most = max(self._most or 0, sum(self._storages.values()))

    def stop(self) -> int | None:
        """Ends the watch; the bytes of the pass that kept the most, or None if there was no pass."""
        for hook in self._hooks:
            hook.remove()
        return self._most
