"""Arguments of the parts of a job against the types that their classes state."""

import inspect
from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lit_nas.cli.known import guess
from lit_nas.record.names import import_class

__all__ = ("check_values", "checked_arguments")

WORDS: Mapping[Any, str] = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path", type(None): "null"
}  # fmt: skip
PLURALS: Mapping[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def checked_arguments(owner: type, arguments: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Arguments of a class in plain form, those refused that are unknown or of another type than the class states.

    Ranges and what lists and mappings hold besides scalars are left to the class. A part that is chosen by class may be
    given by the name of its class alone; it becomes a mapping with `class_path`.

    Args:
        owner: The class.
        arguments: Builtins, as a YAML file holds them.
        key: What leads to them: `job`, for example.

    Raises:
        ValueError: naming the key.
    """
    known = list(inspect.signature(owner).parameters)
    for name in arguments:
        if name not in known:
            listed = f"Known are {', '.join(known)}." if known else f"{owner.__name__} has none."
            raise ValueError(f"{key}.{name} is unknown{guess(str(name), known)}. {listed}")
    hints = _hints(owner)
    return {name: _checked(value, hints.get(name, Any), f"{key}.{name}") for name, value in arguments.items()}


def check_values(value: Any, key: str) -> None:
    """Refuses texts and numbers of another type than frozen dataclasses state, where the parser has let them pass.

    Args:
        value: A section as builtins, parts with `class_path` and `init_args`.
        key: What leads to it.

    Raises:
        ValueError: naming the key.
    """
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        owner, arguments = import_class(value["class_path"]), value.get("init_args") or {}
        hints = _hints(owner) if is_dataclass(owner) else {}
        for name, each in arguments.items():
            if isinstance(each, (str, int, float, bool)) and name in hints:
                kinds = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
                plain = all(kind in WORDS or get_origin(kind) is Literal for kind in kinds)
                if plain and not any(_fits(each, kind) for kind in kinds):
                    raise ValueError(f"{key}.{name} is {each!r}, but must be {_listed(_word(kind) for kind in kinds)}.")
            check_values(each, f"{key}.{name}")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            check_values(each, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for each in value:
            check_values(each, key)


def _hints(owner: type) -> dict[str, Any]:
    try:
        return get_type_hints(owner.__init__)  # type: ignore[misc]  # that of this very class is asked for
    except NameError:  # names that only a type checker imports
        return {}


def _checked(value: Any, hint: Any, key: str) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if parts := [kind for kind in kinds if _is_part(kind)]:
        fits = any(_fits(value, kind) for kind in kinds if kind not in parts and kind is not str)
        return value if fits else _part(value, parts[0], key)
    if not any(_fits(value, kind) for kind in kinds):
        raise ValueError(f"{key} must be {_listed(_word(kind) for kind in kinds)}, not {value!r}.")
    if isinstance(value, Mapping):
        items = [item for kind in kinds if _origin(kind) is Mapping for item in get_args(kind)[1:] if _is_part(item)]
        return {name: _part(each, items[0], f"{key}.{name}") for name, each in value.items()} if items else value
    return value


def _part(value: Any, base: type, key: str) -> Any:
    """A frozen dataclass, by its arguments, or by its class where that is to be chosen."""
    if isinstance(value, base):
        return value
    if not issubclass(base, ABC):
        if not isinstance(value, Mapping):
            raise ValueError(f"{key} must be a mapping of keys of {base.__name__}, not {value!r}.")
        return checked_arguments(base, value, key)
    given = {"class_path": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("class_path"), str):
        raise ValueError(f"{key} must name a {base.__name__} by its class_path, not {value!r}.")
    found, arguments = import_class(given["class_path"]), given.get("init_args") or {}
    if not issubclass(found, base) or inspect.isabstract(found):
        raise ValueError(f"{key} is {given['class_path']}, which is no {base.__name__}.")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{key}.init_args must be a mapping of keys, but is {arguments!r}.")
    return {**given, "init_args": checked_arguments(found, arguments, key)}


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and get_origin(kind) is None and (is_dataclass(kind) or ABC in kind.__mro__)


def _origin(kind: Any) -> Any:
    """What a kind of container is, whichever of its names the hint has."""
    origin = get_origin(kind) or kind
    if not isinstance(origin, type):
        return origin
    if issubclass(origin, Mapping):
        return Mapping
    return Sequence if issubclass(origin, Sequence) and origin not in (str, bytes) else origin


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        return type(value) is int or (kind is float and type(value) is float)
    if kind in (str, bool, type(None)):
        return isinstance(value, kind)
    if kind is Path:
        return isinstance(value, (str, Path))
    origin = _origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin is Sequence:
        (item, *_) = (*get_args(kind), Any)
        listed = isinstance(value, (list, tuple))
        return listed and (item not in PLURALS or all(_fits(each, item) for each in value))
    return isinstance(value, Mapping) if origin is Mapping else True


def _word(kind: Any) -> str:
    origin = _origin(kind)
    if origin is Literal:
        return _listed(map(str, get_args(kind)))
    if origin is Sequence:
        (item, *_) = (*get_args(kind), Any)
        return f"a list of {PLURALS[item]}" if item in PLURALS else "a list"
    return "a mapping" if origin is Mapping else WORDS.get(kind, str(kind))


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
