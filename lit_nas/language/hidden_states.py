"""Hidden states that are carried from window to window, for each stream of text by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_nas.batches import say
from lit_nas.language.masks import Masks

__all__ = ("HiddenStates", "StatedWindow", "check_window")


@dataclass(frozen=True)
class StatedWindow:
    """A window, or some of its sequences, with the hidden state that it begins with."""

    tokens: Tensor
    """int64 [T, B]."""
    targets: Tensor
    """int64 [T, B]."""
    state: Tensor
    """[B, d], without gradients."""
    role: str = "weights"
    """The stream that it belongs to."""
    share: float = 1.0
    """Factor of the learning rate, see `Window`."""
    start: int = 0
    """Number of its first sequence in the whole batch."""
    whole: int = 0
    """Number of sequences of the whole batch; 0 means its own."""
    masks: Masks | None = None
    """What is dropped; None leaves it to the model, which draws it."""

    @property
    def batch(self) -> int:
        """Number of sequences of the whole batch."""
        return self.whole or self.tokens.shape[1]

    def cut(self, parts: int) -> Sequence["StatedWindow"]:
        """Cuts between sequences, each of which takes its state and its masks along.

        Args:
            parts: How many parts to make; fewer where there is not enough to cut.
        """
        found, start = [], 0
        for tokens, targets, state in zip(
            self.tokens.chunk(parts, 1), self.targets.chunk(parts, 1), self.state.chunk(parts), strict=True
        ):
            stop = start + tokens.shape[1]
            masks = None if self.masks is None else self.masks.columns(start, stop)
            found.append(
                StatedWindow(tokens, targets, state, self.role, self.share, self.start + start, self.batch, masks)
            )
            start = stop
        return found


class HiddenStates:
    """The hidden states of all streams: what a window begins with, and what it leaves to the next.

    The forward pass of each part of a window notes the state that it ends with; where a step runs several, the last one
    counts. `carry` makes these the states that the next windows begin with.

    Args:
        kept: Streams whose states a checkpoint holds; others are those of an evaluation.
    """

    def __init__(self, kept: Sequence[str] = ("weights", "arch")) -> None:
        self.kept = kept
        self.states: dict[str, Tensor] = {}
        self._ends: dict[str, dict[int, Tensor]] = {}

    def begin(self, role: str, window: Any, zeros: Tensor) -> StatedWindow:
        """A window with its state: that of the window before, or zeros where a pass over the text begins.

        Args:
            role: The stream.
            window: Of the text.
            zeros: [B, d], of the type of numbers and on the device of the network.

        Raises:
            ValueError: if the window has another number of sequences than the one before.
        """
        self._ends.pop(role, None)
        state = None if window.first else self.states.get(role)
        if state is None:
            state = zeros
        if state.shape != zeros.shape:
            raise ValueError(
                f"A window of the part '{role}' has {len(zeros)} sequences, but the one before had {len(state)}: "
                "hidden states are carried from window to window, so that their number must not change within a text."
            )
        return StatedWindow(window.tokens, window.targets, state.to(zeros), role, window.share)

    def note(self, part: StatedWindow, state: Tensor) -> None:
        """Remembers with which state a forward pass has ended.

        Args:
            part: What was read.
            state: [B, d].
        """
        self._ends.setdefault(part.role, {})[part.start] = state.detach()

    def carry(self) -> None:
        """Lets the next windows begin with what was noted since the last ones began."""
        for role, ends in self._ends.items():
            self.states[role] = torch.cat([ends[start] for start in sorted(ends)])
        self._ends.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """States of the streams that are kept, of the sequences of this process."""
        return {role: state for role, state in self.states.items() if role in self.kept}

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        """Takes states over.

        Args:
            states: As `state_dict` gives them.
        """
        self.states = dict(states)


def check_window(window: Any, origin: str) -> None:
    """Refuses what is no window of text.

    Args:
        window: What data have handed over.
        origin: Where it comes from, at the beginning of the message.

    Raises:
        ValueError: naming what is wrong and what is wanted.
    """
    tensors = [getattr(window, name, None) for name in ("tokens", "targets")]
    wanted = "a `lit_nas.windows.Window` is wanted: tokens and targets, int64 [T, B] each"
    if not all(isinstance(tensor, Tensor) for tensor in tensors) or not hasattr(window, "first"):
        raise ValueError(f"{origin} is {say(window)}, but {wanted}.")
    tokens, targets = tensors
    assert isinstance(tokens, Tensor)
    assert isinstance(targets, Tensor)
    if tokens.dtype != torch.int64 or tokens.dim() != 2 or tokens.shape != targets.shape or not tokens.numel():
        raise ValueError(
            f"{origin} has tokens of shape {list(tokens.shape)} and type {tokens.dtype} and targets of shape "
            f"{list(targets.shape)}, but {wanted}."
        )
