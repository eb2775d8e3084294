"""Arguments of a fit: checked before the parser sees them."""

import re
from collections.abc import Sequence

from lit_nas.cli.layers import config_files, read_layer, refuse_spec

__all__ = ("check_arguments",)


def check_arguments(args: Sequence[str]) -> None:
    """Refuses what the parser would take without obeying it, or would not name.

    Args:
        args: Arguments of a command.

    Raises:
        FileNotFoundError: if a configuration is not there.
        ValueError: if a configuration cannot be read, a key has no value, or one is set that the data hand over.
    """
    for path in config_files(args):
        refuse_spec(read_layer(path), f"'{path}'")
    for word, following in zip(args, [*args, "--"][1:], strict=True):
        if re.match(r"--model\.(init_args\.)?spec\b", word):
            refuse_spec({"model": {"init_args": {"spec": following}}}, word)
        name, equals, value = word.partition("=")
        alone = name in ("--print_config", "--help") or name.endswith(".help")
        if alone or not (name.startswith("--") or name == "-c"):
            continue
        if not equals and following.startswith("--"):
            raise ValueError(f"{name} needs a value: `{name} VALUE`.")
        if not (value if equals else following).strip():
            raise ValueError(f"{name} was given an empty value. Leave it out, or write `null` for none.")
