"""Which images train weights, which train the architecture, which judge: disjoint parts by role."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_nas.data.order import generator

__all__ = ("ROLES", "SPLITS", "Split")

ROLES = ("weights", "arch", "val", "test")
"""Trains the weights, trains the architecture, validates, tests."""

SPLITS: Mapping[str, Mapping[str, float]] = {
    "all": {"weights": 1.0},
    "half": {"weights": 0.5, "arch": 0.5},
    "one-one-four": {"test": 1 / 6, "arch": 1 / 6, "weights": 4 / 6},
}
"""Named splits. `one-one-four` (FaDE) draws its test part from training and test files pooled; the others divide the
training files."""

_ALLOWED = (
    f"data.split is one of the names {', '.join(sorted(SPLITS))}, or a mapping from roles (weights, arch, val) to "
    "fractions of the training images, such as {weights: 0.5, arch: 0.4, val: 0.1}"
)


@dataclass(frozen=True)
class Split:
    """A rule that divides the images of a data set into disjoint parts.

    Raises:
        ValueError: for an unknown name or role, for fractions that are not positive or sum to more than one, and for
            a split without weights.
    """

    rule: str | Mapping[str, float] = "half"
    """A name, or fractions of the training images by role; what is left over stays unused."""
    seed: int | None = 0
    """Seed of the permutation that is cut into parts; None cuts the order of the files, as DARTS does."""
    merged: bool = False
    """Whether `weights` and `arch`, which both train in a search, are one part, as a retraining has it. `val` stays
    what it is: nothing was trained on it. The test part is the same either way."""

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            if self.rule not in SPLITS:
                raise ValueError(f"data.split has no name {self.rule!r}: {_ALLOWED}.")
            return
        if unknown := sorted(set(self.rule) - set(ROLES)):
            raise ValueError(f"data.split has the unknown roles {unknown}: {_ALLOWED}.")
        if "test" in self.rule:
            raise ValueError(
                "data.split gives a fraction to the role 'test', but the test part is the data set's own, except for "
                f"`one-one-four`: {_ALLOWED}."
            )
        if "weights" not in self.rule:
            raise ValueError(f"data.split has the roles {sorted(self.rule)} but no 'weights': {_ALLOWED}.")
        if bad := {role: value for role, value in self.rule.items() if not 0 < value < math.inf}:
            raise ValueError(f"data.split has the fractions {bad}, but fractions are positive: {_ALLOWED}.")
        if (total := sum(self.rule.values())) > 1 + 1e-9:
            raise ValueError(f"data.split has fractions that sum to {total:g}, which is more than 1: {_ALLOWED}.")

    @property
    def name(self) -> str:
        """The rule's name, or `fractions`."""
        return self.rule if isinstance(self.rule, str) else "fractions"

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction of the divided images by role."""
        return dict(SPLITS[self.rule] if isinstance(self.rule, str) else self.rule)

    @property
    def roles(self) -> frozenset[str]:
        """Roles that get a part; the test part is always there."""
        return (frozenset(self.fractions) | {"test"}) - ({"arch"} if self.merged else frozenset())

    @property
    def pooled(self) -> bool:
        """Whether the test part is drawn from training and test files together, instead of being the test files."""
        return "test" in self.fractions

    def divide(self, train: int, test: int, limit: int | None = None) -> dict[str, Tensor]:
        """Indices of each role's images; training images count from 0, test images follow them.

        Args:
            train: Number of training images.
            test: Number of test images.
            limit: How many of the images that are not tested on are divided, after the permutation; None divides all.
                The test part does not depend on it.

        Raises:
            ValueError: if a part would be empty, or `limit` is more than there is.
        """
        count = train + test if self.pooled else train
        order = torch.arange(count) if self.seed is None else torch.randperm(count, generator=generator(self.seed))
        tested = _cut(self.fractions.get("test", 0.0), count)
        parts = {"test": order[:tested] if self.pooled else torch.arange(train, train + test)}
        order = order[tested:]
        if limit is not None and limit > len(order):
            images = "images that are not tested on" if self.pooled else "training images"
            raise ValueError(
                f"data.limit is {limit}, but the data set has only {len(order)} {images}. Leave data.limit out to use "
                "all, or make it smaller."
            )
        order = order[:limit]
        fractions = {role: fraction for role, fraction in self.fractions.items() if role != "test"}
        whole = 1 - self.fractions["test"] if self.pooled else 1.0
        start, share = 0, 0.0
        for role, fraction in fractions.items():
            share += fraction / whole
            stop = _cut(share, len(order))
            parts[role], start = order[start:stop], stop
        if empty := sorted(role for role, part in parts.items() if len(part) == 0):
            raise ValueError(
                f"data.split leaves no image to the roles {empty}: {len(order)} images are divided by "
                f"{self.fractions} and the data set has {test} test images. Use larger fractions, a larger data.limit, "
                "or a data set with more images."
            )
        if self.merged and "arch" in parts:
            parts["weights"] = torch.cat([parts["weights"], parts.pop("arch")])
        return parts

    def describe(self, parts: Mapping[str, Tensor]) -> dict[str, object]:
        """What identifies the parts, as plain data: rule, seed, sizes and a SHA-256 digest of the indices."""
        digest = hashlib.sha256()
        for role in sorted(parts):
            digest.update(f"{role}:{len(parts[role])}:".encode())
            digest.update(parts[role].numpy().astype("<i8").tobytes())
        return {
            "name": self.name,
            "fractions": self.fractions,
            "seed": self.seed,
            "sizes": {role: len(part) for role, part in sorted(parts.items())},
            "digest": digest.hexdigest(),
        }


def _cut(share: float, count: int) -> int:
    # the small number keeps 6 * (1/6 + 1/6 + 4/6) from losing an image to rounding
    return min(count, math.floor(share * count + 1e-6))
