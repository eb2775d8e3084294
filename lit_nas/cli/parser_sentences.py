"""Sentences about the keys that a user wrote, each from a match in what the parser says."""

import re
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer

import lit_nas
from lit_nas.cli.known import classes_of, guess, known_classes, parameters_of
from lit_nas.cli.parser_place import ROOTS, Place, find_place, given_value
from lit_nas.schedules import Schedule

__all__ = (
    "ambiguous",
    "no_class_path",
    "no_class_yet",
    "no_mapping",
    "no_package",
    "required",
    "unknown_class",
    "unknown_in_group",
    "unknown_option",
    "unrecognized",
    "wrong_class",
    "wrong_length",
    "wrong_value",
)

_TOP = ("model", "data", "trainer", "seed_everything", "ckpt_path", "config", "print_config")
_TYPES = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "dict": "a mapping",
    "list": "a list", "tuple": "a list", "collections.abc.Iterable": "a list",
    "collections.abc.Sequence": "a list", "collections.abc.Mapping": "a mapping",
}  # fmt: skip
_FROM_ELSEWHERE = ("spec", "params", "optimizer")  # what the data, the network or the optimiser hand over


def _options(owner: type | None, option: str, key: str) -> str:
    known = [name for name in parameters_of(owner) if name not in _FROM_ELSEWHERE]
    meant = guess(option, [*known, "init_args", "class_path"])
    if not known:
        return f"{key} is unknown{meant}."
    if owner is Trainer:
        return f"{key} is unknown{meant}. `lit-nas fit --help` lists the keys of the Trainer."
    return f"{key} is unknown{meant}. The keys of {getattr(owner, '__name__', owner)} are: {', '.join(known)}."


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def unknown_option(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A key that the class or section there does not have."""
    place, option = find_place(match), match[1].removesuffix(".class_path")
    first = option.split(".")[0]
    return _options(place.owner, first, _join(place.key, option)) if place.key else _unknown_top(option)


def _unknown_top(option: str) -> str:
    root, _, rest = option.partition(".")
    if root in ROOTS and rest:
        return _options(ROOTS[root], rest.split(".")[0], option)
    return f"`{option}` is unknown{guess(root, _TOP)}. Known are: {', '.join(_TOP)}."


def unknown_in_group(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A key that a part written field by field does not have."""
    place = find_place(match)
    return _in_part(place, f"{match[1]}.{match[2]}")


def _in_part(place: Place, dotted: str) -> str:
    """The option of a part that is written field by field, such as `optim.clip`."""
    if not place.key:
        return _unknown_top(dotted)
    owner, key = place.owner, place.key
    *path, option = dotted.split(".")
    for position, name in enumerate(path):
        known = parameters_of(owner)
        if name not in known:
            return _options(owner, name, _join(key, *path[: position + 1]))
        owner = next(iter(classes_of(known[name])), None)
    return _options(owner, option, _join(key, dotted))


def unrecognized(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """An argument that no parser took."""
    word = match[1].partition("=")[0]
    if not word.startswith("--"):
        return f"'{match[1]}' is not understood: arguments are written as `--key value`, see --help."
    return _in_part(find_place(match), word.removeprefix("--").removesuffix("+"))


def unknown_class(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A class that cannot be found or imported."""
    named, wanted = match.groupdict(), find_place(match)
    given, known = named.get("name") or given_value(match), known_classes(wanted.annotation)
    if given in lit_nas.HOMES:  # there is one, of another kind
        return wrong_class(match, _)
    meant = guess(given.rpartition(".")[2], known)
    listed = f" The classes of lit-nas for it are: {', '.join(known)}." if known else ""
    reason = f" ({named['reason']})" if named.get("reason") else ""
    return (
        f"{wanted.key} is '{given}', but there is no such class{reason}{meant}.{listed} Others are named by their full "
        "path."
    )


def wrong_class(match: re.Match[str], given: Mapping[str, Any]) -> str:
    """A class that is of another kind than the key wants."""
    place, name = find_place(match), match.groupdict().get("name") or given_value(match)
    known = known_classes(place.annotation)
    wanted = " or ".join(found.__name__ for found in classes_of(place.annotation)) or "class"
    listed = f" Those of lit-nas are: {', '.join(known)}." if known else ""
    return f"{place.key} is {name}, which is no {wanted}.{listed}"


def wrong_value(match: re.Match[str], _: Mapping[str, Any]) -> str | None:
    """A value of another type than the key has; None if the message does not tell where it was."""
    place, allowed = find_place(match), []
    if not place.key:
        return None
    for name in re.findall(r"Expected an? (<class '[\w.]+'>|typing\.Literal\[[^\]]+\])", match.string[match.start() :]):
        if name.startswith("typing"):
            allowed += name.removeprefix("typing.Literal[").removesuffix("]").split(", ")
        elif "NoneType" not in name:
            kind = name.removeprefix("<class '").removesuffix("'>")
            allowed.append(_TYPES.get(kind, kind.rpartition(".")[2]))
    if not allowed:
        return None
    *most, last = dict.fromkeys(allowed)
    return f"{place.key} is {given_value(match) or repr('')}, but must be {', '.join(most)}{' or ' * bool(most)}{last}."


def required(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A key, model or data that must be given."""
    if place := find_place(match).key:
        return f"{_join(place, match[1].split(',')[0])} is missing: it has no default."
    missing = [name.strip().partition(".")[2] or name.strip() for name in match[1].split(",")]
    missing.sort(key=("model", "data").index if set(missing) <= {"model", "data"} else str)
    known = "; ".join(f"{name}: {', '.join(known_classes(ROOTS[name]))}" for name in missing if name in ROOTS)
    return (
        f"Nothing says which {' and '.join(missing)} to use. Give a configuration (`-c FILE`) that holds "
        f"{'them' if len(missing) > 1 else 'it'}, or {' and '.join(f'`--{name} CLASS`' for name in missing)}"
        + (f". The classes of lit-nas are: {known}." if known else ".")
    )


def ambiguous(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A class name that several classes have."""
    return f"{find_place(match).key} is '{match[1]}', but there are several classes of that name: write {match[2]}."


def no_class_yet(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """Keys of a part whose class has not been chosen."""
    place = find_place(match)
    listed = ", ".join(known_classes(place.annotation))
    return f"{place.key} has keys only once it has a class: set {place.key} to one of {listed} first."


def wrong_length(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A list of the wrong length."""
    return f"{find_place(match).key} is {given_value(match)}, but must be a list of {match[1]} values."


def no_class_path(match: re.Match[str], given: Mapping[str, Any]) -> str:
    """A number or another value where a class is wanted; a schedule may be a number that does not change."""
    place = find_place(match)
    if Schedule not in classes_of(place.annotation):
        return wrong_class(match, given)
    constant = f"{{class_path: Constant, init_args: {{value: {match['name']}}}}}"
    return (
        f"{place.key} is {match['name']}, but must be a schedule: for a number that does not change write {constant}."
    )


def no_package(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A class that needs a package which is not installed."""
    package = match["package"]
    return f"{match['name'].rpartition('.')[2]} needs the package {package}: pip install '{package}'."


def no_mapping(match: re.Match[str], _: Mapping[str, Any]) -> str:
    """A value where a mapping of keys is wanted."""
    keys = _join(find_place(match).key, match["own"] or "").split(".")
    key = ".".join(name for index, name in enumerate(keys) if index == 0 or name != keys[index - 1])
    return f"{key} is {match['given']}, but must be a mapping of its keys, or a YAML file that holds it."
