"""Parts of a job that a configuration chooses by their class."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import lit_nas.jobs
from lit_nas.cli.known import guess
from lit_nas.cli.part_arguments import checked_arguments
from lit_nas.record.names import import_class, public_name
from lit_nas.record.plain import build, plain

__all__ = ("chosen", "described")


def described(part: Any) -> dict[str, Any]:
    """A part as plain data, with its class.

    Args:
        part: A frozen dataclass.

    Raises:
        ValueError: if it is something else.
    """
    found = plain(part) if is_dataclass(part) else None
    if not isinstance(found, dict):
        raise ValueError(f"{public_name(type(part))} must be a frozen dataclass, so that it can be written down.")
    return found


def chosen(
    layers: Sequence[Mapping[str, Any]], key: str, base: type, default: type, overrides: Mapping[str, Any]
) -> Any:
    """The part that the last layer with a key names.

    Args:
        layers: Configurations; later ones win.
        key: `job` or `executor`.
        base: What the part must be.
        default: Its class where no layer names one.
        overrides: Arguments that win over those of the layer, by dotted keys; `class_path` names another class.

    Raises:
        ValueError: if there is no such class, or it refuses an argument.
    """
    given = next((layer[key] for layer in reversed(layers) if layer.get(key) is not None), None)
    if (own := overrides.get("class_path")) is not None:
        same = isinstance(given, dict) and given.get("class_path") == own
        given = given if same else str(own)
    if given is None:
        given = public_name(default)
    given = {"class_path": given} if isinstance(given, str) else given
    if not isinstance(given, dict) or not isinstance(given.get("class_path"), str):
        raise ValueError(f"`{key}` must have a class_path, but is {given!r}.")
    if unknown := [name for name in given if name not in ("class_path", "init_args")]:
        raise ValueError(f"`{key}` has the key {unknown[0]}. Known are class_path and init_args.")
    arguments, name = given.get("init_args") or {}, given["class_path"]
    if not isinstance(arguments, dict):
        raise ValueError(f"{key}.init_args must be a mapping of keys, but is {arguments!r}.")
    found = _class(name, key, base)
    for dotted, value in overrides.items():
        if dotted != "class_path":
            arguments = _with(arguments, dotted.split("."), value, key)
    arguments = checked_arguments(found, arguments, key)
    try:
        return build(found, arguments)
    except TypeError as error:
        raise ValueError(f"`{key}` ({name}) cannot be made: {error}.") from error


def _with(arguments: Mapping[str, Any], path: Sequence[str], value: Any, key: str) -> dict[str, Any]:
    """Arguments with a value at a path of keys, within the arguments of parts that are on the way."""
    first, *rest = path
    if not rest:
        return {**arguments, first: value}
    inner, where = arguments.get(first), f"{key}.{first}"
    if isinstance(inner, str) and "." not in rest[0] and rest[0] != "class_path":
        inner = {"class_path": inner}  # a part by the name of its class
    inner = {} if inner is None else inner
    if not isinstance(inner, Mapping):
        raise ValueError(f"{where} is {inner!r}, which has no key `{rest[0]}`: set {where} as a whole.")
    if "class_path" in inner and rest[0] not in ("class_path", "init_args"):
        return {**arguments, first: {**inner, "init_args": _with(inner.get("init_args") or {}, rest, value, where)}}
    return {**arguments, first: _with(inner, rest, value, where)}


def _class(name: str, key: str, base: type) -> type:
    known = [each for each in lit_nas.jobs.__all__ if _is_part(getattr(lit_nas.jobs, each), base)]
    if "." not in name:
        if name not in known:
            raise ValueError(
                f"There is no {key} '{name}'{guess(name, known)}. Known are {', '.join(known)}, and any class by its "
                "full name."
            )
        return getattr(lit_nas.jobs, name)
    found = import_class(name)
    if not _is_part(found, base):
        raise ValueError(f"`{key}` is {name}, which is no {base.__name__}.")
    return found


def _is_part(found: Any, base: type) -> bool:
    return isinstance(found, type) and issubclass(found, base) and not inspect.isabstract(found)
