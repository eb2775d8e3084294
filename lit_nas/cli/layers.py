"""Configuration files: read and checked before the parser sees them, so that mistakes are named with their file."""

import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lit_nas.record.replaced import with_present_classes

__all__ = ("config_files", "read_layer", "read_value", "refuse_spec", "with_present_files")


class _Loader(yaml.SafeLoader):
    """YAML as the parser of the command line reads it: 1e-3 is a number. A key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses the second of two equal keys, of which YAML would silently keep the last."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' appears twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, Hashable) else None)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def read_layer(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file that holds a mapping; classes that have gone are replaced by those of today.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is a folder, no text, no YAML, empty, or holds something else than a mapping.
    """
    path = Path(path)
    if not str(path).strip() or path == Path():
        raise ValueError("-c needs the name of a YAML file, but was given an empty one.")
    if path.is_dir():
        raise ValueError(f"The configuration '{path}' is a folder. Give a YAML file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no configuration '{path}' ('{path.absolute()}' was looked for).")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise ValueError(f"The configuration '{path}' is not a text file in UTF-8: {error}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"The configuration '{path}' is not YAML: {_reason(error)}") from error
    if content is None:
        raise ValueError(f"The configuration '{path}' is empty. It needs keys such as `model`, `data` and `trainer`.")
    if not isinstance(content, dict):
        raise ValueError(
            f"The configuration '{path}' must be a mapping with keys such as `model`, `data` and `trainer`, but it "
            f"holds {'a list' if isinstance(content, list) else f'only {content!r}'}."
        )
    present: dict[str, Any] = with_present_classes(content)
    return present


def read_value(text: str, where: str) -> Any:
    """Reads the value of an argument.

    Args:
        text: YAML.
        where: The argument.

    Raises:
        ValueError: if it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"The value of {where} is not YAML: {_reason(error)}") from error


def config_files(args: Sequence[str]) -> Iterator[str]:
    """The files that arguments name with `-c` or `--config`; configurations written out there are left out.

    Args:
        args: Arguments of a command.
    """
    for index, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name in ("-c", "--config"):
            if not equals and index + 1 < len(args):
                value = args[index + 1]
            elif not equals:
                continue  # the parser says that a value is missing
        elif word.startswith("-c"):
            value = word.removeprefix("-c")
        else:
            continue
        if not _written_out(value):
            yield value


def with_present_files(args: Sequence[str]) -> list[str]:
    """Arguments in which files that name classes that have gone are written out, with the classes of today.

    Args:
        args: Arguments of a command, whose files have been checked.
    """
    found = list(args)
    for path in config_files(args):
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
        if (present := read_layer(path)) != content:
            text = yaml.safe_dump(present, default_flow_style=True, sort_keys=False, width=float("inf"))
            found = [f"{word.removesuffix(path)}{text}" if word.endswith(path) else word for word in found]
    return found


def _written_out(value: str) -> bool:
    """Whether an argument is the text of a configuration, as the parser takes it in the place of a file."""
    return "\n" in value or value.lstrip().startswith("{") or (": " in value and not Path(value).exists())


def refuse_spec(layer: dict[str, Any], where: str) -> None:
    """Refuses a configuration that sets what the data hand over to the model.

    Args:
        layer: A configuration of a fit.
        where: What holds it.

    Raises:
        ValueError: if it has the key `model.spec`.
    """
    model = layer.get("model")
    arguments = model.get("init_args") if isinstance(model, dict) else None
    if isinstance(arguments, dict) and "spec" in arguments:
        raise ValueError(
            f"{where} sets model.spec, which follows from the data: what both must agree on flows from data.spec into "
            "the model. Leave it out, and set the keys of `data` where they are free."
        )


def _reason(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    advice = " YAML is indented by spaces, never by tabs." if "'\\t'" in problem else ""
    return f"{place}{problem}.{advice}"
