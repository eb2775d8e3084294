"""The constructor call of a module as plain data, for checkpoints, logs and reports."""

import dataclasses
import importlib
import subprocess
from abc import ABC
from functools import cache, partial
from pathlib import Path
from typing import Any

__all__ = ("commit", "import_class", "plain")


def plain(value: Any) -> Any:
    """Turns an argument into builtins that a YAML file could hold.

    Frozen dataclasses become mappings; those that are chosen by class (subclasses of an abstract class) become
    `class_path` and `init_args`. Classes and partial calls of classes likewise.

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
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, type):
        return {"class_path": f"{value.__module__}.{value.__qualname__}"}
    if isinstance(value, partial) and isinstance(value.func, type) and not value.args:
        return {**plain(value.func), "init_args": plain(dict(value.keywords))}
    if dataclasses.is_dataclass(value):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {**plain(type(value)), "init_args": fields} if isinstance(value, ABC) else fields
    raise TypeError(
        f"{value!r} cannot be written into a checkpoint. Use a class, functools.partial of a class with keywords, a "
        "frozen dataclass or builtins."
    )


def import_class(path: str) -> type:
    """Imports `package.module.Class`.

    Raises:
        ValueError: if there is no such class.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"There is no class '{path}': {error}.") from error
    if not isinstance(found, type):
        raise ValueError(f"'{path}' is not a class.")
    return found


@cache
def commit() -> str | None:
    """Commit of the checkout that lit-nas runs from; None for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
