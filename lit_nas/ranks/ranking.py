"""Networks in the order of their ranks: the best ones of a product without all of it, and some of all qualities."""

import heapq
import random
from collections.abc import Iterator
from itertools import islice, pairwise, product
from math import exp
from typing import NamedTuple

from lit_nas.ranks.choices import Choice, Choices

__all__ = ("MOST_ENUMERATED", "Ranked", "best_networks", "spread_networks")

MOST_ENUMERATED = 100_000
"""Larger products are known by that many networks, drawn at random, where networks of all qualities are wanted."""


class Ranked(NamedTuple):
    """A network and what ranks it."""

    choice: Choice
    log_rank: float
    """The sum of the logarithms of its probabilities."""

    @property
    def rank(self) -> float:
        """The product of its probabilities."""
        return exp(self.log_rank)


def best_networks(choices: Choices, count: int) -> list[Ranked]:
    """The networks with the largest products of probabilities, the best one first.

    The product is not enumerated: each network that is taken offers those that are one place worse in one row, in that
    row or a later one than the row in which it differs last, so that each network is offered once. The heap never holds
    more than `count` times the number of rows.

    Args:
        choices: The rows.
        count: How many, at most as many as there are.

    Raises:
        ValueError: if it is less than 1.
    """
    if count < 1:
        raise ValueError(f"At least 1 network is ranked, not {count}.")
    return list(islice(_in_order(choices), count))


def _in_order(choices: Choices) -> Iterator[Ranked]:
    orders = [
        [number for _, number in sorted((-p, number) for number, p in enumerate(row))] for row in choices.probabilities
    ]

    def ranked(places: Choice) -> tuple[float, Choice]:
        choice = tuple(order[place] for order, place in zip(orders, places, strict=True))
        return -choices.log_rank(choice), choice

    first = (0,) * len(orders)
    heap = [(*ranked(first), first, 0)]
    while heap:
        value, choice, places, last = heapq.heappop(heap)
        yield Ranked(choice, -value)
        for row in range(last, len(orders)):
            if places[row] + 1 < len(orders[row]):
                worse = (*places[:row], places[row] + 1, *places[row + 1 :])
                heapq.heappush(heap, (*ranked(worse), worse, row))


def spread_networks(choices: Choices, count: int, seed: int) -> list[Ranked]:
    """Networks of all qualities, the best one first: one drawn out of each of `count` equal parts of the ranks.

    Args:
        choices: The rows.
        count: How many.
        seed: Of what is drawn.

    Raises:
        ValueError: if there are not as many.
    """
    if not 1 <= count <= choices.networks:
        raise ValueError(f"There are {choices.networks} networks, so that {count} cannot be spread over their ranks.")
    chance, sizes = random.Random(seed), list(map(len, choices.names))
    if choices.networks <= MOST_ENUMERATED:
        known = set(product(*map(range, sizes)))
    else:
        known = set()
        while len(known) < max(count, MOST_ENUMERATED):
            known.add(tuple(map(chance.randrange, sizes)))
    ordered = sorted(
        (Ranked(choice, choices.log_rank(choice)) for choice in known), key=lambda each: (-each[1], each[0])
    )
    bounds = [part * len(ordered) // count for part in range(count + 1)]
    return [ordered[chance.randrange(*ends)] for ends in pairwise(bounds)]
