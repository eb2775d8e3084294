"""Modules of the user's own that make operations and spaces known: where they are named, and when they are imported.

No file has anything imported that it names. A user imports a module with `--import` on the command line, by a class of
the package in a configuration, or in Python.
"""

import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ("KEY", "VARIABLE", "import_own", "import_trusted", "missing_modules", "own_modules", "say_missing")

KEY = "modules"
"""Where the `meta` of a genotype names them."""
VARIABLE = "LIT_NAS_IMPORT"
"""Environment variable that hands the modules of `--import` to processes that a command starts."""


def own_modules(makers: Iterable[object]) -> list[str]:
    """The modules outside of lit-nas that define some classes or functions, sorted.

    Args:
        makers: What makes an operation, the class of a space.
    """
    found = {str(getattr(maker, "__module__", "lit_nas")) for maker in makers}
    return sorted(name for name in found if name.partition(".")[0] not in ("lit_nas", "__main__"))


def import_own(names: Sequence[str]) -> None:
    """Imports modules that a user names, and hands their names on to processes that this one starts.

    Args:
        names: Dotted names.

    Raises:
        ValueError: if there is no such module.
    """
    inherited = [name for name in os.environ.get(VARIABLE, "").split(",") if name]
    for name in dict.fromkeys([*inherited, *names]):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f"--import {name}: there is no such module ({error}). Name it by its dotted name, and start lit-nas in "
                "the folder that holds its package, or install the package."
            ) from error
    if names:
        os.environ[VARIABLE] = ",".join(dict.fromkeys([*inherited, *names]))


def import_trusted(meta: Mapping[str, Any], trust: Sequence[str]) -> None:
    """Imports those modules of a genotype whose packages are trusted.

    Args:
        meta: Of the genotype.
        trust: Packages.

    Raises:
        ValueError: if there is no such module.
    """
    packages = tuple(f"{package}." for package in trust)
    for name in missing_modules(meta):
        if not f"{name}.".startswith(packages):
            continue
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f"The module '{name}', with which the genotype was found, cannot be imported: {error}."
            ) from None


def missing_modules(meta: Mapping[str, Any]) -> list[str]:
    """The modules that a genotype was found with and that have not been imported.

    Args:
        meta: Of the genotype.
    """
    names = meta.get(KEY)
    return [str(name) for name in names if str(name) not in sys.modules] if isinstance(names, (list, tuple)) else []


def say_missing(meta: Mapping[str, Any]) -> str:
    """A sentence about them to put behind a message; empty where none is missing.

    Args:
        meta: Of the genotype.
    """
    if not (names := missing_modules(meta)):
        return ""
    words = " ".join(f"--import {name}" for name in names)
    return (
        f" It was found with {', '.join(names)}, which has not been imported: add `{words}` to the command, or import "
        "it in Python."
    )
