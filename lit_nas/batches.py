"""What a batch is to a search or a retraining that does not know what it is made of."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

__all__ = ("Batch", "by_role", "check_roles", "say", "tensors_of")

Batch: TypeAlias = Any
"""What data yield for one role: tensors, and whatever goes with them, in tuples, lists or dataclasses. Data and model
alone know more of it. A mapping is no such batch: it holds the batches of several roles."""


def by_role(batch: Any) -> Mapping[str, Batch]:
    """A training batch as a mapping; a bare batch, as a plain DataLoader hands it over, trains the weights."""
    return batch if isinstance(batch, Mapping) else {"weights": batch}


def check_roles(batch: Any, roles: frozenset[str], owner: str) -> None:
    """Refuses a training batch that lacks the part of a role.

    Args:
        batch: What the loaders made.
        roles: The parts that training cannot do without.
        owner: Class of the module, for the message.

    Raises:
        ValueError: naming the missing parts and what to train with.
    """
    if missing := sorted(roles - set(by_role(batch))):
        wanted = ", ".join(f'"{role}": loader' for role in sorted(roles, reverse=True))
        raise ValueError(
            f"A training batch is {say(batch)}, but {owner} needs the parts {sorted(roles)} and {missing} is missing. "
            f"Train with `{{{wanted}}}`, a dict of one loader for each part"
            + ("." if len(roles) > 1 else ", or with a single loader.")
        )


def tensors_of(batch: Batch) -> list[Tensor]:
    """The tensors of a batch in a fixed order, those within its parts included."""
    found: list[Tensor] = []
    apply_to_collection(batch, Tensor, found.append)
    return found


def say(batch: Any) -> str:
    """A batch in a few words, for messages."""
    if isinstance(batch, Mapping):
        return f"a dict with the keys {sorted(map(str, batch))}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        kinds = ", ".join(type(part).__name__ for part in batch[:4])
        return f"a {type(batch).__name__} of {len(batch)} ({kinds}{', ...' if len(batch) > 4 else ''})"
    return f"a {type(batch).__name__}"
