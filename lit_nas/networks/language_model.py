"""Language models around a recurrent cell: of a search, and of a genotype.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, appendix A; the weights of embedding and
decoder are one tensor (Inan et al., 2017, https://arxiv.org/abs/1611.01462).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine
from lit_nas.genotype import Genotype
from lit_nas.language import Masks
from lit_nas.networks.recurrent_cells import INITIAL, RecurrentCell, RecurrentSearchCell
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.spaces import RecurrentSpace
from lit_nas.specs import Spec, TextSpec

__all__ = ("LanguageModel", "LanguageNetwork", "LanguageOutput", "build_language_search")


class LanguageOutput(NamedTuple):
    """What a language model makes of a window."""

    logits: Tensor
    """[T, B, V]."""
    state: Tensor
    """Hidden state after the window, [B, d], with gradients."""
    hidden: Tensor
    """Hidden states, [T, B, d]."""
    dropped: Tensor
    """The same with their mask: what the decoder reads, [T, B, d]."""


class LanguageModel(nn.Module):
    """Embedding, recurrent cell and a decoder with the weights of the embedding and a bias of its own.

    Args:
        cell: Maps embedded tokens [T, B, d], a hidden state [B, d], a mixture if it is searched, and masks to hidden
            states [T, B, d].
        vocabulary: V.
        width: d.
    """

    def __init__(self, cell: RecurrentSearchCell | RecurrentCell, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.embedding.weight, -INITIAL, INITIAL)
        self.cell = cell
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor, state: Tensor, masks: Masks = Masks(), mixture: Mixture = ()) -> LanguageOutput:
        """Reads a window.

        Args:
            tokens: int64 [T, B].
            state: Hidden state before it, [B, d].
            masks: Of the window; none in evaluation.
            mixture: Of the cell, if it is searched.
        """
        weight = self.embedding.weight
        x = F.embedding(tokens, weight)
        if masks.words is not None:
            x = x * F.embedding(tokens, masks.words)
        if masks.inputs is not None:
            x = x * masks.inputs
        hidden = self.cell(x, state, *mixture, masks)
        dropped = hidden if masks.outputs is None else hidden * masks.outputs
        return LanguageOutput(F.linear(dropped, weight, self.bias), hidden[-1], hidden, dropped)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, [B, d].

        Args:
            batch: B.
        """
        return self.bias.new_zeros(batch, self.width)


def build_language_search(
    space: RecurrentSpace, spec: TextSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
) -> LanguageModel:
    """The language model in whose cell is searched.

    Args:
        space: What is searched.
        spec: The vocabulary.
        engine: Not used: the cell computes all candidates of a node at once by itself.
        edges: The plain ones only.

    Raises:
        ValueError: for other edges.
    """
    if not isinstance(edges, PlainEdges):
        raise ValueError(
            f"model.edges is {type(edges).__name__}, but the weights of a recurrent cell belong to its nodes: leave "
            "model.edges out."
        )
    cell = RecurrentSearchCell(space.cells["recurrent"], space.width, space.track_running_stats)
    return LanguageModel(cell, spec.vocabulary, space.width)


@dataclass(frozen=True)
class LanguageNetwork(RetrainNetwork):
    """The language model of a genotype, with the width of DARTS on Penn Treebank: 22,960,000 weights for 10,000 words.

    Raises:
        ValueError: if the width is not positive.
    """

    paper_spec: ClassVar[Spec] = TextSpec(10_000)
    paper_batch_size: ClassVar[int | None] = 64

    width: int = 850
    """d; the paper has 700 on WikiText-2."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"model.width must be at least 1, not {self.width}.")

    def build(self, genotype: Genotype, spec: Any, auxiliary: bool = False) -> nn.Module:
        """The language model.

        Args:
            genotype: Of the space of recurrent cells.
            spec: The vocabulary.
            auxiliary: Not asked for, as there is no such head.

        Raises:
            ValueError: if genotype or spec is of another kind.
        """
        if genotype.space != RecurrentSpace.name or not isinstance(spec, TextSpec):
            raise ValueError(
                f"A language model needs a genotype of the space '{RecurrentSpace.name}' and text, but got one of the "
                f"space '{genotype.space}' and {spec}."
            )
        return LanguageModel(RecurrentCell(genotype.cells["recurrent"], self.width), spec.vocabulary, self.width)
