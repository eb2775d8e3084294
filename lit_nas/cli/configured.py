"""What the commands share that build the parts of a configuration and look at them: plain argparse, and no training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit_nas.cli.training import TrainingCLI
    from lit_nas.networks.stopwatch import Stopwatch

__all__ = ("add_stopwatch", "check_json", "configured", "parser_of_configuration", "stopwatch")


def parser_of_configuration(name: str, description: str | None, of: str = "search") -> argparse.ArgumentParser:
    """A parser that takes configurations; what it does not know are arguments of `lit-nas fit`.

    Args:
        name: Of the command.
        description: For its help.
        of: What is configured.
    """
    parser = argparse.ArgumentParser(f"lit-nas {name}", description=description, allow_abbrev=False)
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="FILE", help=f"configuration of the {of}"
    )
    return parser


def configured(given: argparse.Namespace, rest: Sequence[str]) -> TrainingCLI:
    """Builds model, data and Trainer, as `lit-nas fit` would.

    Args:
        given: What `parser_of_configuration` has read.
        rest: What it has left: keys that win over the configurations.

    Raises:
        ValueError: with one sentence, for what `lit-nas fit` would refuse.
    """
    from lit_nas.cli.explain import explained
    from lit_nas.cli.training import TrainingCLI

    with explained():
        layers = [word for path in given.config for word in ("-c", path)]
        return TrainingCLI([*layers, *rest], run=False)


def check_json(option: str, path: Path | None) -> None:
    """Refuses a file to write that is not named `.json`.

    Args:
        option: That names it.
        path: The file; None where none is written.

    Raises:
        ValueError: naming the option.
    """
    if path is not None and path.suffix != ".json":
        raise ValueError(f"{option} must name a .json file, not '{path}'.")


def add_stopwatch(parser: argparse.ArgumentParser, what: str, warm_up: int, repeats: int) -> None:
    """Adds how latencies are measured.

    Args:
        parser: Of the command.
        what: Is measured.
        warm_up: Default.
        repeats: Default.
    """
    parser.add_argument("--warm_up", type=int, default=warm_up, help=f"runs of each {what} that do not count")
    parser.add_argument("--repeats", type=int, default=repeats, help="runs that count; their median is taken")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU")
    parser.add_argument("--batch_size", type=int, default=1, help="images of each run")
    parser.add_argument("--device", default="cpu", help="cpu, or a device of torch such as cuda")


def stopwatch(given: argparse.Namespace) -> Stopwatch:
    """What `add_stopwatch` asked for.

    Args:
        given: What the parser has read.
    """
    from lit_nas.networks.stopwatch import Stopwatch

    return Stopwatch(given.warm_up, given.repeats, given.threads, given.batch_size, given.device)
