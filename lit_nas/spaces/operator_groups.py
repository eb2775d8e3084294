"""Groups of similar operators, and the search spaces S1 to S5 of StacNAS.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, section 3.2 (spaces) and appendix A (groups).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.operations import check_operations, original

__all__ = (
    "OPERATOR_GROUPS",
    "STACNAS_S1",
    "STACNAS_S2",
    "STACNAS_S3",
    "STACNAS_S4",
    "STACNAS_S5",
    "OperatorGroups",
    "load_operator_groups",
    "named_operations",
    "operator_groups",
)

FORMAT, VERSION = "lit-nas operator groups", 1
NONE = "none"


@dataclass(frozen=True)
class OperatorGroups:
    """Operators that stand in for each other, each group behind its key operator.

    `none` belongs to no group: it competes with the others on every edge, whatever group they are of.

    Raises:
        ValueError: if there is no group, an operator is unknown, is `none` or a copy, or has two groups, or a key is
            not a member of its group.
    """

    groups: Mapping[str, Sequence[str]] = field(hash=False)
    """Key operator -> all members of its group, the key among them. The order of both is that of columns of alpha."""

    def __post_init__(self) -> None:
        if not isinstance(self.groups, Mapping) or not self.groups:
            raise ValueError(f"groups must map key operators to lists of members, but is {self.groups!r}.")
        for key, members in self.groups.items():
            if isinstance(members, str) or not isinstance(members, Iterable):
                raise ValueError(f"groups.{key} must be a list of operators, not {members!r}.")
        object.__setattr__(self, "groups", {key: tuple(members) for key, members in self.groups.items()})
        members = self.operations
        check_operations(members, "groups")
        if odd := sorted(name for name in members if name == NONE or original(name) != name):
            raise ValueError(f"groups names {odd}, but `none` and copies belong to no group: leave them out.")
        if twice := sorted({name for name in members if members.count(name) > 1}):
            raise ValueError(f"groups names {twice} more than once, but an operator belongs to one group.")
        if apart := sorted(key for key, own in self.groups.items() if key not in own):
            raise ValueError(f"groups.{apart[0]} must name its key '{apart[0]}' among its members.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The key operators, one of each group."""
        return tuple(self.groups)

    @property
    def operations(self) -> tuple[str, ...]:
        """All members of all groups, without `none`."""
        return tuple(name for members in self.groups.values() for name in members)

    def members(self, operation: str) -> tuple[str, ...]:
        """The group of an operator, itself included.

        Args:
            operation: A key or any other member.

        Raises:
            KeyError: if it belongs to no group.
        """
        for members in self.groups.values():
            if operation in members:
                return tuple(members)
        raise KeyError(f"'{operation}' belongs to none of the groups {self.plain()}.")

    def plain(self) -> dict[str, list[str]]:
        """Builtins, as YAML and JSON hold them and as the constructor takes them."""
        return {key: list(members) for key, members in self.groups.items()}

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.

        Args:
            path: The file.
        """
        content = {"format": FORMAT, "version": VERSION, "groups": self.plain()}
        write_text(Path(path), json.dumps(content, indent=2) + "\n")


def _published(groups: Mapping[str, tuple[str, ...]]) -> OperatorGroups:
    """Groups of the paper, made without the check of their names, which would bring in torch whenever this is read."""
    made = object.__new__(OperatorGroups)
    object.__setattr__(made, "groups", dict(groups))
    return made


STACNAS_S1 = _published(
    {
        "max_pool_3x3": ("max_pool_3x3", "avg_pool_3x3"),
        "skip_connect": ("skip_connect",),
        "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5"),
        "dil_conv_3x3": ("dil_conv_3x3", "dil_conv_5x5"),
    }
)
"""The operators of DARTS."""
STACNAS_S2 = _published(
    {
        "skip_connect": ("skip_connect", "max_pool_3x3", "max_pool_5x5", "avg_pool_3x3", "avg_pool_5x5"),
        "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5"),
    }
)
"""More pooling."""
STACNAS_S3 = _published(
    {
        "max_pool_3x3": ("max_pool_3x3",),
        "skip_connect": ("skip_connect",),
        "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"),
        "dil_conv_3x3": ("dil_conv_3x3", "dil_conv_5x5"),
    }
)
"""More convolutions."""
STACNAS_S4 = _published(
    {
        "skip_connect": ("skip_connect",),
        "sep_conv_3x3": ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    }
)
"""No pooling."""
STACNAS_S5 = _published({"skip_connect": ("skip_connect",), "sep_conv_3x3": ("sep_conv_3x3",)})
"""What cells of DARTS hold most often."""

OPERATOR_GROUPS: Mapping[str, OperatorGroups] = {
    "S1": STACNAS_S1,
    "S2": STACNAS_S2,
    "S3": STACNAS_S3,
    "S4": STACNAS_S4,
    "S5": STACNAS_S5,
}
"""Name, as configurations use it -> groups."""


def named_operations(name: str) -> tuple[str, ...]:
    """All operators of a search space that is known by name, `none` last.

    Args:
        name: A key of `OPERATOR_GROUPS`.

    Raises:
        ValueError: listing the known names.
    """
    if name not in OPERATOR_GROUPS:
        raise ValueError(
            f"space.operations is '{name}', but must be a list of operations, or one of the known sets "
            f"{', '.join(OPERATOR_GROUPS)}."
        )
    return *OPERATOR_GROUPS[name].operations, NONE


def operator_groups(given: OperatorGroups | Mapping[str, Sequence[str]] | str | Path) -> OperatorGroups:
    """Groups in any of the forms that a configuration may give.

    Args:
        given: A key of `OPERATOR_GROUPS`, the path of a file that `OperatorGroups.save` wrote, or key operators with
            the members of their groups.

    Raises:
        FileNotFoundError: if there is neither a set nor a file of that name.
        ValueError: if the groups make no sense.
    """
    if isinstance(given, OperatorGroups):
        return given
    if isinstance(given, str) and given in OPERATOR_GROUPS:
        return OPERATOR_GROUPS[given]
    return load_operator_groups(given) if isinstance(given, (str, Path)) else OperatorGroups(given)


def load_operator_groups(path: str | Path) -> OperatorGroups:
    """Reads a file of operator groups.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file of operator groups '{path}'. Give its path, or one of the known sets "
            f"{', '.join(OPERATOR_GROUPS)}."
        )
    try:
        return _groups(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise ValueError(f"'{path}' is not a file of operator groups: {reason}.") from None


def _groups(content: Any) -> OperatorGroups:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"its format is not '{FORMAT}'")
    if content.get("version") != VERSION:
        raise ValueError(f"its version is {content.get('version')!r}, and this release reads {VERSION}")
    return OperatorGroups(content["groups"])
