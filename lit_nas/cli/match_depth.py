"""The command that finds search networks which are as hard to optimise as the network that is built in the end."""

import argparse
import json
import re
from collections.abc import Sequence

__all__ = ("match_depth",)

PAIR = re.compile(r"(\d+)x(\d+)")


def match_depth(args: Sequence[str]) -> None:
    """Trains a target network and search networks, and compares their gradient confusion; finished ones are skipped.

    The configuration is that of a job `DepthMatch`; all other arguments are those of `lit-nas run`.
    """
    parser = argparse.ArgumentParser("lit-nas match-depth", description=match_depth.__doc__, allow_abbrev=False)
    parser.add_argument(
        "-c", "--config", action="append", required=True, metavar="FILE", help="configuration of the job"
    )
    parser.add_argument("--folder", help="folder of the job")
    parser.add_argument("--target", metavar="CxL", type=_pair, help="channels and cells of the target, 36x20 say")
    parser.add_argument(
        "--candidates", metavar="CxL", type=_pair, nargs="+", help="channels and cells of the search networks"
    )
    parser.add_argument("--genotype", help="what the target is built of: a published name, or a file")
    given, rest = parser.parse_known_args(args)

    from lit_nas.cli.run import run
    from lit_nas.jobs import DepthMatch

    rest += [word for path in given.config for word in ("-c", path)]
    rest += [] if given.folder is None else ["--folder", given.folder]
    if given.target is not None:
        rest += ["--retrain.model.init_channels", str(given.target[0]), "--retrain.model.num_cells"]
        rest += [str(given.target[1])]
    if given.candidates is not None:
        rest += ["--job.candidates", json.dumps(given.candidates)]
    if given.genotype is not None:
        rest += ["--job.genotype", given.genotype]
    run(rest, DepthMatch)


def _pair(text: str) -> tuple[int, int]:
    found = PAIR.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a pair of channels and cells such as 16x14")
    return int(found[1]), int(found[2])
