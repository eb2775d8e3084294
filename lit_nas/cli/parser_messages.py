"""What the parser says, as sentences about the keys that a user wrote.

The parser tells of all its attempts, as a tree of lines; `PARSER` lists the leaves that occur in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import LightningDataModule, Trainer

from lit_nas.cli.known import classes_of, guess, known_classes, parameters_of
from lit_nas.cli.pattern import Pattern, translate
from lit_nas.record.names import import_class
from lit_nas.record.recorded_module import RecordedModule

__all__ = ("PARSER", "translate_parser")

_ROOTS: Mapping[str, Any] = {"model": RecordedModule, "data": LightningDataModule, "trainer": Trainer}
_TOP = ("model", "data", "trainer", "seed_everything", "ckpt_path", "config", "print_config")
_TYPES = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "dict": "a mapping",
    "list": "a list", "tuple": "a list", "collections.abc.Iterable": "a list",
}  # fmt: skip
_FROM_ELSEWHERE = ("spec", "params", "optimizer")  # what the data, the network or the optimiser hand over


def translate_parser(message: str) -> str:
    """The sentence for a message of the parser.

    Args:
        message: Of several lines.
    """
    return translate(PARSER, message, {}) or _cleaned(message)


@dataclass(frozen=True)
class _Place:
    """Where in the configuration the parser was when it gave up."""

    key: str
    """Dotted, as on the command line."""
    owner: type | None
    """Class whose arguments are being read there."""
    annotation: Any
    """Type of the value of `key`."""


def _place(match: re.Match[str]) -> _Place:
    """Follows the keys and classes that the message names before the match."""
    names: list[str] = []
    owner, annotation = None, None
    for token in re.finditer(r"""Parser key "([^"]+)"|given class_path '([^']+)'""", match.string[: match.start()]):
        if token[2]:
            owner = _import(token[2]) or owner
        for name in (token[1] or "").split(".") if token[1] else ():
            annotation = (parameters_of(owner) if names else _ROOTS).get(name)
            owner = next(iter(classes_of(annotation)), None)
            names.append(name)
    line = match.string[match.end() :].partition("\n")[0]
    if found := re.search(r"Got value: Namespace\(class_path='([^']+)'", line):  # an optimiser or a schedule
        owner = _import(found[1]) or owner
    return _Place(".".join(names), owner, annotation)


def _import(path: str) -> type | None:
    try:
        return import_class(path)
    except ValueError:
        return None


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


def _unknown_option(match: re.Match[str], _: Mapping[str, Any]) -> str:
    place, option = _place(match), match[1].removesuffix(".class_path")
    first = option.split(".")[0]
    return _options(place.owner, first, _join(place.key, option)) if place.key else _unknown_top(option)


def _unknown_top(option: str) -> str:
    root, _, rest = option.partition(".")
    if root in _ROOTS and rest:
        return _options(_ROOTS[root], rest.split(".")[0], option)
    return f"`{option}` is unknown{guess(root, _TOP)}. Known are: {', '.join(_TOP)}."


def _unknown_in_group(match: re.Match[str], _: Mapping[str, Any]) -> str:
    place = _place(match)
    return _in_part(place, f"{match[1]}.{match[2]}")


def _in_part(place: _Place, dotted: str) -> str:
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


def _unrecognized(match: re.Match[str], _: Mapping[str, Any]) -> str:
    word = match[1].partition("=")[0]
    if not word.startswith("--"):
        return f"'{match[1]}' is not understood: arguments are written as `--key value`, see --help."
    return _in_part(_place(match), word.removeprefix("--").removesuffix("+"))


def _unknown_class(match: re.Match[str], _: Mapping[str, Any]) -> str:
    named, wanted = match.groupdict(), _place(match)
    given, known = named.get("name") or _given(match), known_classes(wanted.annotation)
    meant = guess(given.rpartition(".")[2], known)
    listed = f" The classes of lit-nas for it are: {', '.join(known)}." if known else ""
    reason = f" ({named['reason']})" if named.get("reason") else ""
    return (
        f"{wanted.key} is '{given}', but there is no such class{reason}{meant}.{listed} Others are named by their full "
        "path."
    )


def _wrong_class(match: re.Match[str], given: Mapping[str, Any]) -> str:
    place, name = _place(match), match.groupdict().get("name") or _given(match)
    known = known_classes(place.annotation)
    wanted = " or ".join(found.__name__ for found in classes_of(place.annotation)) or "class"
    listed = f" Those of lit-nas are: {', '.join(known)}." if known else ""
    return f"{place.key} is {name}, which is no {wanted}.{listed}"


def _given(match: re.Match[str]) -> str:
    """The value that the message complains of."""
    rest = match.string[match.end() :]
    found = re.search(r"Got value: (.*?)(?=\. Got value|\n|$)", rest.partition("\n")[0]) or re.search(
        r"Given value: (?:NestedArg\(key='[^']*', val=(.*)\)|(.*))", rest
    )
    value = next((group for group in found.groups() if group is not None), "") if found else ""
    return value if len(value) <= 80 else f"{value[:80]}..."


def _wrong_value(match: re.Match[str], _: Mapping[str, Any]) -> str | None:
    place, allowed = _place(match), []
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
    return f"{place.key} is {_given(match) or repr('')}, but must be {', '.join(most)}{' or ' * bool(most)}{last}."


def _required(match: re.Match[str], _: Mapping[str, Any]) -> str:
    if place := _place(match).key:
        return f"{_join(place, match[1].split(',')[0])} is missing: it has no default."
    missing = [name.strip().partition(".")[2] or name.strip() for name in match[1].split(",")]
    missing.sort(key=("model", "data").index if set(missing) <= {"model", "data"} else str)
    known = "; ".join(f"{name}: {', '.join(known_classes(_ROOTS[name]))}" for name in missing if name in _ROOTS)
    return (
        f"Nothing says which {' and '.join(missing)} to use. Give a configuration (`-c FILE`) that holds "
        f"{'them' if len(missing) > 1 else 'it'}, or {' and '.join(f'`--{name} CLASS`' for name in missing)}"
        + (f". The classes of lit-nas are: {known}." if known else ".")
    )


def _ambiguous(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"{_place(match).key} is '{match[1]}', but there are several classes of that name: write {match[2]}."


def _no_class_yet(match: re.Match[str], _: Mapping[str, Any]) -> str:
    place = _place(match)
    listed = ", ".join(known_classes(place.annotation))
    return f"{place.key} has keys only once it has a class: set {place.key} to one of {listed} first."


def _wrong_length(match: re.Match[str], _: Mapping[str, Any]) -> str:
    return f"{_place(match).key} is {_given(match)}, but must be a list of {match[1]} values."


def _no_package(match: re.Match[str], _: Mapping[str, Any]) -> str:
    package = match["package"]
    return f"{match['name'].rpartition('.')[2]} needs the package {package}: pip install '{package}'."


def _no_mapping(match: re.Match[str], _: Mapping[str, Any]) -> str:
    keys = _join(_place(match).key, match["own"] or "").split(".")
    key = ".".join(name for index, name in enumerate(keys) if index == 0 or name != keys[index - 1])
    return f"{key} is {match['given']}, but must be a mapping of its keys, or a YAML file that holds it."


PARSER = (
    Pattern(r"Option '([\w.+-]+)' is not accepted", _unknown_option, "Option 'lrr' is not accepted"),
    Pattern(
        r"(?:Subcommand|Group) '(?:fit|validate|test|predict)' does not accept option '([\w.+-]+)'",
        _unknown_option,
        "Subcommand 'fit' does not accept option 'modle.class_path'",
    ),
    Pattern(
        r"Group '([\w.]+)' does not accept option '([\w.+-]+)'",
        _unknown_in_group,
        "Group 'trainer' does not accept option 'foo'",
    ),
    Pattern(r"unrecognized arguments: (\S+)", _unrecognized, "unrecognized arguments: --trainer.foo 3"),
    Pattern(
        r"the following arguments are required: ([^.\n]+(?:\.\w+[^.\n]*)*)",
        _required,
        "the following arguments are required: fit.data, fit.model",
    ),
    Pattern(
        r"Multiple subclasses with name (\w+)\. Give the full class path to avoid ambiguity: ([\w., ]+\w)",
        _ambiguous,
        "Multiple subclasses with name Foo. Give the full class path to avoid ambiguity: a.Foo, b.Foo.",
    ),
    Pattern(
        r"Expected an instantiatable class, but [\w.]+ is abstract",
        _no_class_yet,
        "Expected an instantiatable class, but lit_nas.derivation.Deriver is abstract",
    ),
    Pattern(
        r"given class_path '(?P<name>[\w.]+)':\s+Requirement '(?P<package>[^']+)' not met",
        _no_package,
        "Problem with given class_path 'pytorch_lightning.loggers.CometLogger':\n  Requirement 'comet-ml>=3' not met.",
    ),
    Pattern(
        r"""(?:Parser key "(?P<own>[\w.]+)":\s+)?Unable to load config '(?P<given>.*)'""",
        _no_mapping,
        "Parser key \"trainer\":\n  Unable to load config '5'",
    ),
    Pattern(
        r"Expected a dot import path string: (?P<name>.+)",
        _unknown_class,
        "Expected a dot import path string: Softmax",
    ),
    Pattern(
        r"given class_path '(?P<name>[\w.]+)':\s+(?P<reason>module '.*' has no attribute '.*'|No module named '.*')",
        _unknown_class,
        "Problem with given class_path 'foo.bar.Baz':\n  No module named 'foo'",
    ),
    Pattern(
        r"(?P<reason>module '.*' has no attribute '\w+'|No module named '[\w.]+')",
        _unknown_class,
        "expects a function or a callable class: module 'torch.optim' has no attribute 'Foo'. Got value: Foo",
    ),
    Pattern(
        r"Import path (?P<name>[\w.]+) does not correspond to a subclass of",
        _wrong_class,
        "Import path torch.nn.Linear does not correspond to a subclass of SearchSpace",
    ),
    Pattern(
        r"Expected '(?P<name>[\w.]+)' to be a subclass of",
        _wrong_class,
        "Expected 'torch.nn.Linear' to be a subclass of <class 'Optimizer'>.",
    ),
    Pattern(
        r"Not a valid subclass of \w+",
        _wrong_class,
        "Not a valid subclass of SearchSpace. Got value: [1, 2]",
    ),
    Pattern(
        r"Expected a tuple with (\d+) elements",
        _wrong_length,
        "Expected a tuple with 2 elements. Got value: [0.5]",
    ),
    Pattern(
        r"Expected an? (?:<class '|typing\.Literal)",
        _wrong_value,
        "Parser key \"trainer.max_epochs\":\n  Expected a <class 'int'>\n  Given value: abc",
    ),
)
"""Leaves of what the parser says, in the order in which they are looked for."""

_OF_THE_PARSER = (
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
    "Given value",
)


def _cleaned(message: str) -> str:
    """A message that no pattern knows, without what the parser says of its own workings."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_OF_THE_PARSER))
