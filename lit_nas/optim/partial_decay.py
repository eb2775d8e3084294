"""Weight decay of what a step has used, and of nothing else.

Paper: Hong et al., IJCAI 2020, https://arxiv.org/abs/2201.11679, section 3.4 (partial decay).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

__all__ = ("PartialDecay",)


@dataclass(frozen=True)
class PartialDecay:
    """L2 decay of the weights and architecture parameters of the candidates that a step executes.

    The penalty is lambda times the sum of squares, without a factor 1/2, so that its gradient is 2 * lambda * theta. A
    weight takes part if the step gave it a gradient; stem, classifier and the like always do. Parameters of candidates
    take part if the candidate was drawn. Optimisers then need no weight decay of their own, which adds to this one.

    The authors' code finds out what took part by values of gradients (a first element that is not exactly 0 for
    weights, more than 1e-7 for parameters), which misjudges some by chance; here the draw says it.

    Raises:
        ValueError: if a strength is negative or not finite.
    """

    weights: float = 3e-4
    """Lambda of the weights."""
    arch: float = 1e-3
    """Lambda of the architecture's parameters."""
    own_step: bool = False
    """Whether the penalty has a second step of the same optimisers, behind that of the loss, as in the authors' code.
    Their momentum then sees both gradients in turn, and the clipping, too. Otherwise its gradient joins that of the
    loss behind the clipping, as weight decay does."""

    def __post_init__(self) -> None:
        for name in ("weights", "arch"):
            if not (isfinite(strength := getattr(self, name)) and strength >= 0):
                raise ValueError(
                    f"model.optim.decay.{name} of PartialDecay must be a number of at least 0, not {strength}."
                )

    @torch.no_grad()
    def join(self, weights: Sequence[nn.Parameter]) -> None:
        """Adds its gradient to that of the weights that have one.

        Args:
            weights: Of the network.
        """
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        moved: list[Tensor] = [weight for weight in weights if weight.grad is not None]
        if moved and self.weights:
            torch._foreach_add_(gradients, moved, alpha=2 * self.weights)

    @torch.no_grad()
    def replace(self, weights: Sequence[nn.Parameter]) -> None:
        """Puts its gradient in the place of that of the weights that have one.

        Args:
            weights: Of the network.
        """
        for weight in weights:
            if weight.grad is not None:
                weight.grad = 2 * self.weights * weight

    def of_architecture(self, parameters: Sequence[Tensor], executed: Sequence[Tensor]) -> list[Tensor]:
        """Its gradient by the parameters of the architecture.

        Args:
            parameters: Of the architecture.
            executed: For each of them which entries took part in the step, bool of its shape.
        """
        pairs = zip(parameters, executed, strict=True)
        return [2 * self.arch * parameter.detach() * entries for parameter, entries in pairs]
