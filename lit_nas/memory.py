"""How much memory a loss keeps."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ("held_for_backward",)


def held_for_backward(loss: Callable[[], Tensor]) -> int:
    """Bytes that autograd holds between a forward pass and its backward pass, each storage counted once.

    Args:
        loss: Makes the loss, which is thrown away. Weights that it refers to count, too.
    """
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output that refers to itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss()
    del value
    return sum(storages.values())
