"""What is dropped in a language model: one mask for a window, at all of its time steps.

Papers: Merity, Keskar, Socher, ICLR 2018, https://arxiv.org/abs/1708.02182, section 4; Gal, Ghahramani, NeurIPS 2016,
https://arxiv.org/abs/1512.05287 (variational dropout). Rates of DARTS: Liu, Simonyan, Yang, ICLR 2019,
https://arxiv.org/abs/1806.09055, appendix A.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ("LanguageDropout", "Masks")


class Masks(NamedTuple):
    """The factors of a window, each 0 or 1 / (1 - rate); None multiplies by nothing. All time steps share them."""

    words: Tensor | None = None
    """[V, 1]: of whole rows of the embedding, so that a word is missing wherever it stands."""
    inputs: Tensor | None = None
    """[B, d]: of the embedded tokens."""
    tokens: Tensor | None = None
    """[B, d]: of what the cell reads of the token, m_x."""
    states: Tensor | None = None
    """[B, d]: of what the weights of the cell read of the last hidden state and of its nodes, m_h. What a gate lets
    pass is not multiplied."""
    outputs: Tensor | None = None
    """[B, d]: of what the decoder reads."""

    def columns(self, start: int, stop: int) -> "Masks":
        """Those of some of the sequences.

        Args:
            start: The first one.
            stop: The one behind the last.
        """
        return Masks(self.words, *(None if mask is None else mask[start:stop] for mask in self[1:]))


@dataclass(frozen=True)
class LanguageDropout:
    """Rates of dropout, each the chance of a zero. The defaults are those of the search of DARTS.

    Raises:
        ValueError: if a rate is not in [0, 1).
    """

    words: float = 0.0
    """Of whole words in the embedding (`dropoute`)."""
    inputs: float = 0.2
    """Of the embedded tokens (`dropouti`)."""
    tokens: float = 0.75
    """Of the tokens that the cell reads (`dropoutx`)."""
    states: float = 0.25
    """Of the states that the weights of the cell read (`dropouth`)."""
    outputs: float = 0.75
    """Of what the decoder reads (`dropout`)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= (value := getattr(self, field.name)) < 1:
                raise ValueError(f"model.dropout.{field.name} must be in [0, 1), but is {value}.")

    def draw(self, vocabulary: int, batch: int, like: Tensor, generator: torch.Generator) -> Masks:
        """Draws the masks of a window, on the host, so that they are the same on every device.

        Args:
            vocabulary: V.
            batch: B.
            like: Weights [V, d] of the network, for d, the type of numbers and the device.
            generator: On the CPU.
        """

        def mask(rate: float, *shape: int) -> Tensor | None:
            if not rate:
                return None
            kept = torch.rand(shape, dtype=torch.float64, generator=generator) >= rate
            return (kept / (1 - rate)).to(like.dtype).to(like.device, non_blocking=True)

        size = batch, like.shape[1]
        rates = self.inputs, self.tokens, self.states, self.outputs
        return Masks(mask(self.words, vocabulary, 1), *(mask(rate, *size) for rate in rates))
