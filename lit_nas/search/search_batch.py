"""What a search is handed in each step."""

from typing import TypedDict

from lit_nas.batches import Batch

__all__ = ("SearchBatch",)


class SearchBatch(TypedDict, total=False):
    """A batch of each role of the split."""

    weights: Batch
    """Updates the weights."""
    arch: Batch
    """Updates the architecture; bilevel methods only."""
