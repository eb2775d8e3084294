"""Where in the configuration the parser was when it gave up, and which value it complains of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import LightningDataModule, Trainer

from lit_nas.cli.known import classes_of, parameters_of
from lit_nas.record.names import import_class
from lit_nas.record.recorded_module import RecordedModule

__all__ = ("ROOTS", "Place", "find_place", "given_value")

ROOTS: Mapping[str, Any] = {"model": RecordedModule, "data": LightningDataModule, "trainer": Trainer}
"""Base class of each section."""


@dataclass(frozen=True)
class Place:
    """Where in the configuration the parser was when it gave up."""

    key: str
    """Dotted, as on the command line."""
    owner: type | None
    """Class whose arguments are being read there."""
    annotation: Any
    """Type of the value of `key`."""


def find_place(match: re.Match[str]) -> Place:
    """Follows the keys and classes that the message names before the match."""
    names: list[str] = []
    owner, annotation = None, None
    for token in re.finditer(r"""Parser key "([^"]+)"|given class_path '([^']+)'""", match.string[: match.start()]):
        if token[2]:
            owner = _import(token[2]) or owner
        for name in (token[1] or "").split(".") if token[1] else ():
            annotation = (parameters_of(owner) if names else ROOTS).get(name)
            owner = next(iter(classes_of(annotation)), None)
            names.append(name)
    line = match.string[match.end() :].partition("\n")[0]
    if found := re.search(r"Got value: Namespace\(class_path='([^']+)'", line):  # an optimiser or a schedule
        owner = _import(found[1]) or owner
    return Place(".".join(names), owner, annotation)


def _import(path: str) -> type | None:
    try:
        return import_class(path)
    except ValueError:
        return None


def given_value(match: re.Match[str]) -> str:
    """The value that the message complains of."""
    rest = match.string[match.end() :]
    found = re.search(r"Got value: (.*?)(?=\. Got value|\n|$)", rest.partition("\n")[0]) or re.search(
        r"Given value: (?:NestedArg\(key='[^']*', val=(.*)\)|(.*))", rest
    )
    value = next((group for group in found.groups() if group is not None), "") if found else ""
    return value if len(value) <= 80 else f"{value[:80]}..."
