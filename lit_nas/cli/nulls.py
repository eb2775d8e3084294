"""Keys of models and data that are `null`: the parser lets any of them be."""

from collections.abc import Mapping
from typing import Any, get_args

from lit_nas.cli.known import parameters_of
from lit_nas.record.names import import_class

__all__ = ("refuse_nulls",)


def refuse_nulls(name: str, section: Mapping[str, Any] | None, handed: frozenset[str] = frozenset()) -> None:
    """Refuses `null` for arguments of a class that take no None.

    Args:
        name: Of the section, `model` or `data`.
        section: Its class (`class_path`) and arguments (`init_args`).
        handed: Arguments that come from elsewhere later on.

    Raises:
        ValueError: naming the key.
    """
    if not section or not section.get("class_path"):
        return
    taken = parameters_of(import_class(section["class_path"]))
    for key, value in dict(section.get("init_args") or {}).items():
        annotation = taken.get(key)
        if value is None and key not in handed and annotation is not None and not _takes_none(annotation):
            raise ValueError(f"{name}.{key} is null, but needs a value. Leave it out to take its default.")


def _takes_none(annotation: Any) -> bool:
    return annotation is Any or annotation is object or annotation is type(None) or type(None) in get_args(annotation)
