"""What a relaxation is: logits in, mixing weights out."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lit_nas.clock import Time

__all__ = ("Relaxation",)


class Relaxation(ABC):
    """Turns architecture parameters into mixing weights. A value: no parameters, no state."""

    @abstractmethod
    def __call__(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Mixing weights of one forward pass.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.

        Returns:
            [E, O]; exactly 0 where the mask is False.
        """

    def initial(self, edges: int, operations: int) -> Tensor:
        """Start values of the parameters, [E, O]: normal with standard deviation 1e-3, as in DARTS."""
        return 1e-3 * torch.randn(edges, operations)
