"""Searches over language models."""

from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from lit_nas.batches import by_role
from lit_nas.language import ActivationPenalty, LanguageDropout, Masks, StatedWindow
from lit_nas.language.scores import LanguageScores
from lit_nas.operations import SynchronisedBatchNorm
from lit_nas.relaxations.draw import generator_of
from lit_nas.search.masks import mask_parts
from lit_nas.search.search_batch import SearchBatch
from lit_nas.search.search_module import SearchModule
from lit_nas.specs import Spec, TextSpec

__all__ = ("TextSearchModule",)

PLACES = {"weights": 0, "arch": 1}
"""Number of each stream, so that each has masks of its own."""


class TextSearchModule(LanguageScores, SearchModule, ABC):
    """A search over language models. Hidden states are carried from window to window, for each stream by itself.

    A final class assigns `dropout`, `penalty` and `passes` beside what `SearchModule` wants. Masks follow from the seed
    of the architecture, the step, what it updates, the stream and the process.

    Without a data module, a bilevel search takes `{"weights": loader, "arch": loader}` of `lit_nas.windows.Window`.
    """

    spec: TextSpec
    spec_class: ClassVar[type[Spec]] = TextSpec
    judged_by = "perplexity"
    dropout: LanguageDropout
    """What is dropped while a level is updated."""
    penalty: ActivationPenalty
    """What is added to the loss of the weights; neither that of the architecture nor a virtual step has it."""
    passes: Literal["shared", "independent"] = "shared"
    """Whether all passes of an update over one window have the same masks, or each draws its own, as in the authors'
    code: there the difference of the second order, divided by a tiny number, is mostly that of the masks."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[tuple[Any, ...], Masks] = {}
        self._seen: dict[tuple[Any, ...], int] = {}

    # -- what the verbs ask --------------------------------------------------------------------------------------

    def cut(self, batch: StatedWindow, parts: int) -> Sequence[StatedWindow]:
        """Cuts between sequences, each of which takes its hidden state along."""
        return batch.cut(parts)

    def size(self, batch: StatedWindow) -> int:
        """Number of tokens that are predicted."""
        return batch.targets.numel()

    def language_loss(self, part: StatedWindow) -> Tensor:
        """Mean negative log-likelihood of a token.

        Args:
            part: A window, or some of its sequences.
        """
        return self._losses(part)[0]

    def penalised_loss(self, part: StatedWindow) -> Tensor:
        """The same with the penalties of the hidden states.

        Args:
            part: A window, or some of its sequences.
        """
        loss, hidden, dropped = self._losses(part)
        return loss + self.penalty(hidden, dropped)

    # -- a step --------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self, batch: SearchBatch) -> Iterator[dict[str, StatedWindow]]:
        """One step over a window of each stream.

        Within, the learning rate of the weights is multiplied by the share of their window (`Window.share`). Behind it
        the hidden states are carried over: of each stream that of the last forward pass.

        Args:
            batch: A window for each role.

        Yields:
            The windows with their hidden states, by role.
        """
        windows = {role: self.with_state(role, each) for role, each in by_role(batch).items() if role in self.roles}
        self._drawn.clear()
        groups = self._optimizers[0].optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * windows["weights"].share
        try:
            yield windows
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate
        self.hidden.carry()

    def read(self, window: StatedWindow) -> tuple[Tensor, Tensor]:
        """See `LanguageScores`."""
        output = self.network(window.tokens, window.state, Masks(), self.architecture())
        return output.logits, output.state

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Refuses what hidden states do not allow.

        Raises:
            ValueError: if gradients are to be captured as graphs.
        """
        super().setup(stage)
        if self.optim.graphs:
            raise ValueError(
                "model.optim.graphs replays a pass as it was captured, masks and hidden states included: set it to "
                "false for language models."
            )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Forgets the passes of the step before, and refuses parts of a batch that BatchNorm cannot normalise by.

        Raises:
            ValueError: if a part has a single sequence.
        """
        super().on_train_batch_start(batch, batch_idx)
        self._seen.clear()
        synchronised = self.trainer.world_size > 1 and all(
            isinstance(norm, SynchronisedBatchNorm) for norm in self.norms
        )
        parts = self.optim.accumulate
        if self.norms and not synchronised and any(_ends_single(each, parts) for each in by_role(batch).values()):
            raise ValueError(
                f"A single sequence is left for a pass of the search, whose network normalises by its batch: make "
                f"data.batch_size larger (or model.optim.accumulate, now {parts}, smaller)."
            )

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuses a batch that BatchNorm cannot normalise by."""
        self._refuse_single(batch, "eval_batch_size")

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuses a batch that BatchNorm cannot normalise by."""
        self._refuse_single(batch, "test_batch_size")

    def rank_state(self) -> dict[str, Tensor]:
        """The hidden states of the sequences of this process."""
        return self.hidden.state_dict()

    def load_rank_state(self, state: dict[str, Tensor]) -> None:
        """Takes the hidden states over."""
        self.hidden.load_state_dict(state)

    # -- inside --------------------------------------------------------------------------------------------------

    def _losses(self, part: StatedWindow) -> tuple[Tensor, Tensor, Tensor]:
        """Mean negative log-likelihood, hidden states, and those that the decoder reads."""
        output = self.network(part.tokens, part.state, self._masks(part), self.architecture())
        self.hidden.note(part, output.state)
        loss = F.cross_entropy(output.logits.flatten(0, 1), part.targets.flatten())
        return loss, output.hidden, output.dropped

    def _masks(self, part: StatedWindow) -> Masks:
        """What is dropped of a part of a window."""
        if part.masks is not None or not self.training:
            return part.masks or Masks()
        parts: tuple[int | str, ...] = mask_parts(self.architecture, PLACES[part.role])
        if self.passes == "independent":
            key = *parts, part.start
            self._seen[key] = self._seen.get(key, -1) + 1
            parts = *parts, self._seen[key]
        if parts not in self._drawn:
            like: Tensor = self.network.embedding.weight  # type: ignore[union-attr,assignment]
            generator = generator_of("language dropout", *parts)
            self._drawn[parts] = self.dropout.draw(self.spec.vocabulary, part.batch, like, generator)
        return self._drawn[parts].columns(part.start, part.start + part.tokens.shape[1])

    def _refuse_single(self, window: Any, key: str) -> None:
        if _ends_single(window) and not getattr(self.architecture.space, "track_running_stats", True):
            raise ValueError(
                f"data.{key} is 1, but the network of the search normalises by its batch: set it to 10, say (or "
                "model.space.track_running_stats to true, before the search)."
            )


def _ends_single(window: Any, parts: int = 1) -> bool:
    """Whether the last part of a window, the smallest one, is a single sequence."""
    tokens = getattr(window, "tokens", None)
    return isinstance(tokens, Tensor) and tokens.dim() == 2 and tokens.chunk(parts, 1)[-1].shape[1] == 1
