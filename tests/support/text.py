"""A tiny language search: what a kind of data other than images takes. It imports nothing that is about images.

The text is made by a grammar, the network is a recurrent one whose cell is searched, and the hidden state is carried
from one window of the text to the next.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.batches import by_role
from lit_nas.data.role_loader import RoleLoader
from lit_nas.derivation import Deriver, TopEdges
from lit_nas.operations import SEARCH, OperationStyle, build_operation
from lit_nas.relaxations import Softmax
from lit_nas.search.search_module import SearchBatch, SearchModule
from lit_nas.search.search_optim import SearchOptim
from lit_nas.spaces import CellSpace, Position, SearchSpace
from lit_nas.specs import Spec, TextSpec

ALPHABET = " .acdeghorst"


class Window(NamedTuple):
    """A stretch of several token sequences."""

    tokens: Tensor
    """int64 [B, T]."""
    targets: Tensor
    """The token after each of them, int64 [B, T]."""
    first: bool
    """Whether the sequences begin here, so that nothing is carried over."""


class CarriedWindow(NamedTuple):
    """A window and the hidden state that it begins with: what a loss needs."""

    tokens: Tensor
    targets: Tensor
    state: Tensor
    """[B, d]."""


# -- data ------------------------------------------------------------------------------------------------------------


def sentences(seed: int, length: int) -> Tensor:
    """Text of a small grammar, int64 [length]."""
    draw, text = random.Random(seed), ""
    while len(text) < length:
        words = [draw.choice(words) for words in (("the", "a"), ("cat", "dog", "ogre"), ("hears", "sees", "goads"))]
        text += " ".join([*words, draw.choice(("the cat", "a toad", "dogs"))]) + ". "
    return torch.tensor([ALPHABET.index(letter) for letter in text[:length]])


class WindowLoader(RoleLoader[Window]):
    """Windows of several sequences side by side, from left to right; a shorter text begins again."""

    def __init__(self, sequences: Tensor, length: int, batches: int | None = None) -> None:
        starts = range(0, sequences.shape[1] - 1, length)
        self._pass = [Window(*pair, start == 0) for start in starts for pair in [_cut(sequences, start, length)]]
        super().__init__(len(self._pass) if batches is None else batches)

    def load(self, epoch: int, start: int) -> Iterator[Window]:
        for position in range(start, len(self)):
            yield self._pass[position % len(self._pass)]


def _cut(sequences: Tensor, start: int, length: int) -> tuple[Tensor, Tensor]:
    tokens = sequences[:, start : min(start + length, sequences.shape[1] - 1)]
    return tokens, sequences[:, start + 1 : start + 1 + tokens.shape[1]]


class GrammarDataModule(LightningDataModule):
    """Training text for the weights, another text for the architecture, which validates as well.

    Args:
        batch_size: Sequences side by side in training, of each process.
        eval_batch_size: The same in validation.
        length: Tokens of each sequence.
        window: Tokens of a window (BPTT).
        vocabulary: Size of the vocabulary that the data claim to have; the alphabet has 12.
    """

    roles = frozenset({"weights", "arch"})

    def __init__(
        self, batch_size: int = 4, eval_batch_size: int = 2, length: int = 43, window: int = 7, vocabulary: int = 12
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.batch_size, self.eval_batch_size, self.length, self.window = batch_size, eval_batch_size, length, window
        self._spec = TextSpec(vocabulary)

    @property
    def spec(self) -> TextSpec:
        return self._spec

    def train_dataloader(self) -> dict[str, WindowLoader]:
        weights = self._loader(1, self.batch_size, self.length)
        return {"weights": weights, "arch": self._loader(2, self.batch_size, self.length // 2, len(weights))}

    def val_dataloader(self) -> WindowLoader:
        return self._loader(2, self.eval_batch_size, self.length)

    def _loader(self, seed: int, size: int, length: int, batches: int | None = None) -> WindowLoader:
        rank, ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sequences = sentences(seed, ranks * size * length).view(ranks * size, length)
        return WindowLoader(sequences[rank * size : (rank + 1) * size], self.window, batches)


# -- what is searched ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GrammarSpace(SearchSpace):
    """One recurrent cell: state 0 is made of the token and the hidden state, each node sees all earlier states."""

    name = "grammar"
    spec_class: ClassVar[type[Spec]] = TextSpec

    nodes: int = 2
    width: int = 6
    operations: tuple[str, ...] = ("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3")

    @property
    def style(self) -> OperationStyle:
        return SEARCH

    @property
    def cells(self) -> dict[str, CellSpace]:
        edges = tuple((source, target) for target in range(1, 1 + self.nodes) for source in range(target))
        return {"recurrent": CellSpace("recurrent", tuple(self.operations), edges, num_inputs=1)}

    @property
    def layout(self) -> tuple[Position, ...]:
        return (Position("recurrent", self.width),)


class GrammarNetwork(nn.Module):
    """Embedding, recurrent cell, and a decoder whose weights are those of the embedding."""

    def __init__(self, space: GrammarSpace, spec: TextSpec) -> None:
        super().__init__()
        self.cell = space.cells["recurrent"]
        self.embedding = nn.Embedding(spec.vocabulary, space.width)
        self.entry = nn.Linear(2 * space.width, space.width)
        self.nodes = nn.ModuleList(nn.Linear(space.width, space.width) for _ in range(space.nodes))
        style = OperationStyle(affine=False, pool_norm=False)
        self.candidates = nn.ModuleDict({name: build_operation(name, 1, 1, style) for name in self.cell.operations})
        self.bias = nn.Parameter(torch.zeros(spec.vocabulary))

    def forward(self, tokens: Tensor, state: Tensor, mixture: CellMixture) -> tuple[Tensor, Tensor]:
        """Tokens [B, T] and hidden state [B, d] -> logits [B, T, V] and the next hidden state."""
        outputs = []
        for letter in self.embedding(tokens).unbind(1):
            state = self._step(letter, state, mixture)
            outputs.append(state)
        return F.linear(torch.stack(outputs, 1), self.embedding.weight, self.bias), state

    def _step(self, letter: Tensor, state: Tensor, mixture: CellMixture) -> Tensor:
        states = [self.entry(torch.cat([letter, state], 1)).tanh()]
        for node, weights in enumerate(self.nodes, 1):
            total = torch.zeros_like(state)
            for edge, (source, target) in enumerate(self.cell.edges):
                for column in mixture.active[edge] if target == node else ():
                    operation = self.candidates[self.cell.operations[column]]
                    total = total + mixture.weights[edge, column] * operation(states[source][:, None, None])[:, 0, 0]
            states.append(weights(total).tanh())
        return torch.stack(states[1:]).mean(0)


# -- the search ------------------------------------------------------------------------------------------------------


class LanguageSearchModule(SearchModule):
    """A search over language models; hidden states are carried from window to window, for each role by itself."""

    spec_class: ClassVar[type[Spec]] = TextSpec
    smoothness: float = 1e-3
    """Factor of the squared change of the logits from token to token, in the weights' loss only."""

    def __init__(self) -> None:
        super().__init__()
        self._carried: dict[str, Tensor] = {}
        self.val_loss = MeanMetric(nan_strategy="disable")

    def cut(self, batch: CarriedWindow, parts: int) -> Sequence[CarriedWindow]:
        """Cuts between sequences, each of which takes its hidden state along."""
        return [CarriedWindow(*part) for part in zip(*(each.chunk(parts) for each in batch), strict=True)]

    def size(self, batch: CarriedWindow) -> int:
        """Number of tokens that are predicted."""
        return batch.targets.numel()

    def carry(self, role: str, window: Window) -> CarriedWindow:
        """The window with the hidden state that the one before it has left."""
        state = None if window.first else self._carried.get(role)
        if state is None:
            state = torch.zeros(len(window.tokens), self.architecture.space.width, dtype=self.network.bias.dtype)
        return CarriedWindow(window.tokens, window.targets, state.to(self.device))

    def losses_of(self, batch: CarriedWindow) -> tuple[Tensor, Tensor, Tensor]:
        """Mean negative log-likelihood, mean squared change of the logits, and the next hidden state."""
        (mixture,) = self.architecture()
        logits, state = self.network(batch.tokens, batch.state, mixture)
        change = sum(((b - a).square().mean() for a, b in pairwise(logits.unbind(1))), logits.new_zeros(()))
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()), change, state

    def advance(self, role: str, step: Any, window: Window) -> None:
        """Takes a step on a window and carries the hidden state of its forward pass over to the next."""
        states: list[Tensor] = []

        def loss(part: CarriedWindow) -> Tensor:
            value, change, state = self.losses_of(part)
            states.append(state.detach())
            return value + self.smoothness * change if role == "weights" else value

        if step(loss, self.carry(role, window)) is not None:
            self._carried[role] = torch.cat(states)

    def rank_state(self) -> dict[str, Tensor]:
        """The hidden states, of the sequences of this process."""
        return {role: state for role, state in self._carried.items() if role != "val"}

    def load_rank_state(self, state: dict[str, Tensor]) -> None:
        """Takes the hidden states over."""
        self._carried = dict(state)

    def validation_step(self, batch: Window, batch_idx: int) -> None:
        """Mean negative log-likelihood of a token."""
        value, _, self._carried["val"] = self.losses_of(self.carry("val", batch))
        self.val_loss.update(value.expand(batch.targets.numel()))
        self.log("val/loss", self.val_loss)

    def on_validation_epoch_end(self) -> None:
        """Perplexity."""
        self.log("val/perplexity", self.val_loss.compute().exp())


class LanguageSearch(LanguageSearchModule):
    """Architecture on its own text, then weights; both by the first order."""

    def __init__(
        self,
        spec: TextSpec = TextSpec(12),
        space: GrammarSpace = GrammarSpace(),
        optim: SearchOptim = SearchOptim(),
        deriver: Deriver = TopEdges(k=1),
    ) -> None:
        super().__init__()
        self.spec, self.optim, self.deriver = spec, optim, deriver
        self.network = GrammarNetwork(space, spec)
        self.architecture = Architecture(space, Softmax())

    def contract_data(self, steps: int) -> GrammarDataModule:
        """Data of as many steps per epoch as a test of all searches wants."""
        return GrammarDataModule(length=7 * steps + 1, window=7)

    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        windows: Mapping[str, Window] = by_role(batch)
        self.advance("arch", self.step_arch, windows["arch"])
        self.advance("weights", self.step_weights, windows["weights"])
