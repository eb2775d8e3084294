"""What a configuration may name: classes by their type, keys by their class, and what a user may have meant."""

import inspect
from abc import ABC
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from sys import modules
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ("classes_of", "guess", "known_classes", "parameters_of")

_CALLABLE = get_origin(Callable[[], None])


def guess(word: str, known: Sequence[str]) -> str:
    """` (did you mean ...?)` if a known word is like the given one, otherwise nothing.

    Args:
        word: What was given.
        known: What could have been meant.
    """
    close = get_close_matches(word, known, 1, 0.6)
    return f" (did you mean `{close[0]}`?)" if close else ""


def classes_of(annotation: Any) -> list[type]:
    """Classes that an annotation names, builtins aside; of a function those that it returns.

    Args:
        annotation: A type, as `typing.get_type_hints` gives it.
    """
    if get_origin(annotation) is _CALLABLE:
        return classes_of(get_args(annotation)[-1])
    if args := get_args(annotation):
        return [found for arg in args for found in classes_of(arg)]
    return [annotation] if isinstance(annotation, type) and annotation.__module__ != "builtins" else []


def known_classes(annotation: Any) -> list[str]:
    """Names of the classes of lit-nas, and of Lightning's loggers, that a value of a type may be, sorted.

    Args:
        annotation: The type.
    """
    found, names = classes_of(annotation), set()
    while found:
        each = found.pop()
        found += each.__subclasses__()
        if _exported(each) and not inspect.isabstract(each) and ABC not in each.__bases__:
            names.add(each.__name__)
    return sorted(names)


def _exported(found: type) -> bool:
    """Whether the module or the package of a class lists it for users."""
    places = (found.__module__, found.__module__.rpartition(".")[0])
    listed = any(found.__name__ in getattr(modules.get(place), "__all__", ()) for place in places)
    return listed and found.__module__.startswith(("lit_nas.", "pytorch_lightning.loggers"))


def parameters_of(owner: type | None) -> dict[str, Any]:
    """Names and types of what a constructor takes, through `**` to that of the class above.

    Args:
        owner: The class; None takes nothing.
    """
    found: dict[str, Any] = {}
    for base in getattr(owner, "__mro__", ()):
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        hints, parameters = _hints(init), list(inspect.signature(init).parameters.values())[1:]
        named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        for each in named:
            found.setdefault(each.name, hints.get(each.name))
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return found


def _hints(init: Any) -> dict[str, Any]:
    try:
        return get_type_hints(init)
    except (NameError, TypeError):  # names that only a type checker sees
        return {}
