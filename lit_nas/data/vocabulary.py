"""Words and their numbers."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ("END", "UNKNOWN", "Vocabulary", "words_of")

END, UNKNOWN = "<eos>", "<unk>"
"""The end of a line, and all words that are not in the vocabulary."""


def words_of(text: str) -> list[str]:
    """Words of a text, which stand between white space, with `<eos>` behind each line, empty ones included.

    Args:
        text: Lines, the last one with or without a line break.
    """
    return [word for line in text.removesuffix("\n").split("\n") for word in (*line.split(), END)]


@dataclass(frozen=True)
class Vocabulary:
    """Words in the order of their numbers.

    Raises:
        ValueError: if a word appears twice, or there is no word for unknown ones.
    """

    words: tuple[str, ...]
    """V words."""

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words) or UNKNOWN not in self.words:
            raise ValueError(f"A vocabulary needs each word once, and {UNKNOWN}.")

    @classmethod
    def of(cls, words: Sequence[str], most: int | None = None) -> "Vocabulary":
        """The vocabulary of a text: its words in the order in which they appear; `<unk>` comes last if it does not.

        Args:
            words: The text.
            most: How many words there may be, those of the end of a line and of unknown words included; rarer ones,
                of equally frequent ones those that appear later, are unknown. None keeps all.
        """
        counts = Counter(words)  # in the order of their first appearance
        if most is not None and len(counts) + (UNKNOWN not in counts) > most:
            special = {END, UNKNOWN} & counts.keys()
            room = most - len(special | {UNKNOWN})
            ordinary = [word for word, _ in counts.most_common() if word not in special]  # stable
            kept = {*special, *ordinary[:room]}
            counts = Counter({word: count for word, count in counts.items() if word in kept})
        return cls((*counts, *(() if UNKNOWN in counts else (UNKNOWN,))))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Word -> its number."""
        return {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        """V."""
        return len(self.words)

    def encode(self, words: Iterable[str]) -> Tensor:
        """Numbers of words, int64 [N]."""
        numbers, unknown = self.numbers, self.numbers[UNKNOWN]
        return torch.tensor([numbers.get(word, unknown) for word in words], dtype=torch.int64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the words in their order."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()
