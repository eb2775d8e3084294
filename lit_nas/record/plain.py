"""The constructor call of a module as plain data, for checkpoints, logs and reports."""

import dataclasses
import inspect
import subprocess
from abc import ABC
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from lit_nas.record.names import current_name, import_class, public_name

__all__ = ("Difference", "build", "commit", "default_arguments", "differences", "plain")


class Difference(NamedTuple):
    """A key whose value is not the same in two configurations."""

    key: str
    """Dotted, as it is written on the command line: without `init_args`."""
    old: Any
    """Value there; None where the key is missing and has no default."""
    new: Any
    """Value here; None where the key is missing here and has no default."""

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} -> {self.new!r}"


def plain(value: Any) -> Any:
    """Turns an argument into builtins that a YAML file could hold.

    Frozen dataclasses become mappings; those that are chosen by class (subclasses of an abstract class) become
    `class_path` and `init_args`, and so do classes and partial calls of classes.

    Args:
        value: A builtin, a path, a frozen dataclass, a class, a partial call of a class, or containers of these.

    Raises:
        TypeError: for anything else, a lambda for example.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        found = {str(key): plain(item) for key, item in value.items()}
        return {**found, "class_path": current_name(found["class_path"])} if "class_path" in found else found
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, type):
        return {"class_path": public_name(value)}
    if isinstance(value, partial) and isinstance(value.func, type) and not value.args:
        return {**plain(value.func), "init_args": plain(dict(value.keywords))}
    if dataclasses.is_dataclass(value):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {**plain(type(value)), "init_args": fields} if isinstance(value, ABC) else fields
    raise TypeError(
        f"{value!r} cannot be written into a checkpoint. Use a class, functools.partial of a class with keywords, a "
        "frozen dataclass or builtins."
    )


def build(owner: type, arguments: Mapping[str, Any]) -> Any:
    """Calls a class with arguments in plain form: the inverse of `plain`.

    Only what stands under `class_path` is imported, so whoever checks that knows all that is.

    Args:
        owner: The class.
        arguments: Builtins; those that are left out take their defaults.

    Raises:
        ValueError: if a class does not exist or refuses a value.
        TypeError: if there is no such argument.
    """
    try:
        hints = get_type_hints(owner.__init__)  # type: ignore[misc]  # that of this very class is asked for
    except NameError:  # names that only a type checker imports
        hints = {}
    return owner(**{name: _build(value, hints.get(name)) for name, value in arguments.items()})


def _build(value: Any, hint: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    classes = tuple(kind for kind in kinds if isinstance(kind, type) and get_origin(kind) is None)
    if isinstance(value, Mapping) and "class_path" in value:
        found, arguments = import_class(value["class_path"]), value.get("init_args") or {}
        if issubclass(found, classes) or (dataclasses.is_dataclass(found) and issubclass(found, ABC)):
            return build(found, arguments)
        return partial(found, **arguments) if arguments else found
    if isinstance(value, Mapping):
        if parts := [kind for kind in classes if dataclasses.is_dataclass(kind)]:
            return build(parts[0], value)
        if any(_holds_anything(kind) for kind in kinds):
            return value
        return {key: _build(item, None) for key, item in value.items()}
    if isinstance(value, list):
        keeps = any(_holds_anything(item) for kind in kinds for item in get_args(kind))
        items = value if keeps else [_build(item, None) for item in value]
        return tuple(items) if any(get_origin(kind) is tuple or kind is tuple for kind in kinds) else items
    return Path(value) if Path in classes and str not in classes and isinstance(value, str) else value


def _holds_anything(kind: Any) -> bool:
    """Whether it is a mapping of plain data, whose values are configurations rather than parts: they stay as they are.

    Settings of the stages of a job are an example, {"model.edges": {"class_path": ...}}.
    """
    return get_origin(kind) in (Mapping, dict) and get_args(kind)[1:] == (Any,)


def default_arguments(owner: type) -> dict[str, Any]:
    """Default arguments of a class in plain form, those of its base classes included where it hands them on.

    Args:
        owner: The class.

    Returns:
        By name; arguments without a default, or with one that is no plain data, are left out.
    """
    found: dict[str, Any] = {}
    for parent in owner.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = inspect.signature(vars(parent)["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.default is not parameter.empty:
                try:
                    found.setdefault(parameter.name, plain(parameter.default))
                except TypeError:
                    continue
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, key: str = ""
) -> list[Difference]:
    """Where two nested configurations differ.

    A key that one of them lacks has its default there, so that a configuration of an older release, which did not know
    the key, equals one that leaves it at its default. Defaults of a part that is chosen by `class_path` are those of
    the class; a class is the same one under its public name and under that of its module, and is imported only if
    both sides name it. In a list of such parts the key of one is its place.

    Args:
        old: Builtins, as `plain` makes them or as a YAML file holds them.
        new: Builtins of the same form.
        defaults: Default values of the keys, nested like the two; None stands for a missing one.
        key: Prefix of the keys that are returned.

    Returns:
        In the order of `new`, then of `old`.
    """
    defaults = defaults if isinstance(defaults, Mapping) else {}
    if "class_path" in old or "class_path" in new:
        ours, theirs = (current_name(str(side.get("class_path"))) for side in (new, old))
        if ours != theirs:
            return [Difference(key or "class_path", theirs, ours)]
        try:
            known = default_arguments(import_class(ours))
        except ValueError:  # a class within a function has no name that leads to it
            known = {}
        return differences(old.get("init_args") or {}, new.get("init_args") or {}, known, key)
    found: list[Difference] = []
    for name in dict.fromkeys([*new, *old]):
        where, default = f"{key}.{name}" if key else str(name), defaults.get(name)
        before, after = old.get(name, default), new.get(name, default)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, default, where)
        elif _are_parts(before) and _are_parts(after) and len(before) == len(after):
            olds, news = ({str(place): part for place, part in enumerate(parts)} for parts in (before, after))
            found += differences(olds, news, key=where)
        elif _listed(before) != _listed(after):
            found.append(Difference(where, before, after))
    return found


def _are_parts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(part, Mapping) and "class_path" in part for part in value
    )


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def commit() -> str | None:
    """Commit of the checkout that lit-nas runs from; None for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
