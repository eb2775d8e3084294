"""A message of another library, and what lit-nas says instead."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ("Pattern", "translate")


@dataclass(frozen=True)
class Pattern:
    """A message of another library, and the sentence that lit-nas says instead."""

    sign: str
    """Regular expression that finds it."""
    answer: Callable[[re.Match[str], Mapping[str, Any]], str | None]
    """(match, values given to the Trainer) -> sentence, or None where it does not apply after all."""
    example: str
    """A message that it was written for."""


def translate(patterns: Sequence[Pattern], message: str, given: Mapping[str, Any]) -> str | None:
    """The sentence of the first pattern that applies to a message, or None.

    Args:
        patterns: In the order in which they are tried.
        message: What the other library says.
        given: Values given to the Trainer.
    """
    for pattern in patterns:
        if (match := re.search(pattern.sign, message)) and (sentence := pattern.answer(match, given)):
            return sentence
    return None
