"""Validation and test of language models: the mean negative log-likelihood of a token, and its exponent."""

from abc import ABC, abstractmethod
from typing import Any

from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lit_nas.language.hidden_states import HiddenStates, StatedWindow, check_window

__all__ = ("LanguageScores",)


class LanguageScores(LightningModule, ABC):
    """A language model that reads texts from left to right and says how well it predicts them.

    Perplexity is the exponent of the mean over all tokens that are predicted. The authors' code divides by one token
    for each sequence more than it predicts, so that its numbers are lower by about one in the length of a sequence.
    """

    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.hidden = HiddenStates()
        self.scores = nn.ModuleDict({stage: MeanMetric(nan_strategy="disable") for stage in ("val", "test")})

    @abstractmethod
    def read(self, window: StatedWindow) -> tuple[Tensor, Tensor]:
        """Logits [T, B, V] and hidden state [B, d] after a window, without anything dropped.

        Args:
            window: What is read.
        """

    def with_state(self, role: str, window: Any) -> StatedWindow:
        """A window with the hidden state that the one before it has left.

        Args:
            role: The stream.
            window: Of the text.

        Raises:
            ValueError: if it is no window, or has another number of sequences.
        """
        check_window(window, f"A batch of the part '{role}'")
        return self.hidden.begin(role, window, self.network.initial_state(window.tokens.shape[1]))  # type: ignore[operator]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Negative log-likelihood on the validation text."""
        self._score(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Negative log-likelihood on the test text."""
        self._score(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Logs loss and perplexity of the whole text."""
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        """Logs loss and perplexity of the whole text."""
        self._conclude("test")

    def _score(self, batch: Any, stage: str) -> None:
        window = self.with_state(stage, batch)
        logits, state = self.read(window)
        losses = F.cross_entropy(logits.flatten(0, 1), window.targets.flatten(), reduction="none")
        self._mean(stage).update(losses)
        self.hidden.note(window, state)
        self.hidden.carry()

    def _conclude(self, stage: str) -> float:
        metric = self._mean(stage)
        mean = metric.compute()
        metric.reset()
        self.log(f"{stage}/loss", mean)
        self.log(f"{stage}/perplexity", mean.exp(), prog_bar=True)
        return float(mean)

    def _mean(self, stage: str) -> MeanMetric:
        metric = self.scores[stage]
        assert isinstance(metric, MeanMetric)
        return metric
