"""The weights of the best validation."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ("BestWeights",)


class BestWeights(nn.Module):
    """A copy of the weights of a network, with the loss that they had in the validation. It is in checkpoints.

    Args:
        network: Whose weights they are.
    """

    loss: Tensor
    steps: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.names = [name for name, _ in network.named_parameters()]
        for name, parameter in network.named_parameters():
            self.register_buffer(_key(name), parameter.detach().clone())
        self.register_buffer("loss", torch.tensor(torch.inf, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(-1))

    @property
    def known(self) -> bool:
        """Whether there has been a validation."""
        return bool(self.loss.isfinite())

    def weights(self) -> dict[str, Tensor]:
        """By the names that they have in the network."""
        return {name: self.get_buffer(_key(name)) for name in self.names}

    @torch.no_grad()
    def offer(self, loss: float, weights: Mapping[str, Tensor], steps: int) -> bool:
        """Keeps weights if they are the best ones so far.

        Args:
            loss: Of the validation.
            weights: By name.
            steps: Of averaging; -1 where nothing was averaged.

        Returns:
            Whether they are.
        """
        if not loss < float(self.loss):
            return False
        for name in self.names:
            self.get_buffer(_key(name)).copy_(weights[name])
        self.loss.fill_(loss)
        self.steps.fill_(steps)
        return True


def _key(name: str) -> str:
    return name.replace(".", "__")  # as buffers have no dots in their names
