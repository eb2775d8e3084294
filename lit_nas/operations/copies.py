"""Candidates that a space has several times, under names of their own."""

__all__ = ("COPIES", "original")

COPIES = {"skip_connect_2": "skip_connect", "skip_connect_3": "skip_connect"}
"""Name -> the operation that it is a further copy of; genotypes name the operation."""


def original(name: str) -> str:
    """What a genotype calls the operation of that name."""
    return COPIES.get(name, name)
