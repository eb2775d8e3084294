"""Penalties of hidden states.

Paper: Merity, McCann, Socher, 2017,
https://arxiv.org/abs/1708.01009.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ("ActivationPenalty",)


@dataclass(frozen=True)
class ActivationPenalty:
    """Activation regularisation (AR) and temporal activation regularisation (TAR, slowness) of a window.

    Raises:
        ValueError: if a factor is negative.
    """

    ar: float = 0.0
    """Factor of the mean square of what the decoder reads, after dropout."""
    tar: float = 1e-3
    """Factor of the mean square of the change of the hidden state from step to step, without dropout."""

    def __post_init__(self) -> None:
        for name in ("ar", "tar"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.penalty.{name} must not be negative, but is {getattr(self, name)}.")

    def __call__(self, hidden: Tensor, dropped: Tensor) -> Tensor:
        """The penalty of a window, 0-dim.

        A window of one step has no change; the authors' code has the mean of nothing there, which is not a number.

        Args:
            hidden: Hidden states, [T, B, d].
            dropped: The same with dropout.
        """
        total = hidden.new_zeros(())
        if self.ar:
            total = total + self.ar * dropped.square().mean()
        if self.tar and len(hidden) > 1:
            total = total + self.tar * (hidden[1:] - hidden[:-1]).square().mean()
        return total
