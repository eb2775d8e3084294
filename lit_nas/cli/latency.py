"""The command that measures what the candidates of a search take on this machine."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ("latency",)


def latency(args: Sequence[str]) -> None:
    """Measures the candidates of a search on this machine, for `ExpectedCost` and `CostFactor` (their `measure`).

    All other arguments are those of `lit-nas fit`: configurations (`-c FILE`), and keys that win over them.
    """
    parser = argparse.ArgumentParser("lit-nas latency", description=latency.__doc__, allow_abbrev=False)
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="FILE", help="configuration of the search"
    )
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")
    parser.add_argument("--warm_up", type=int, default=10, help="runs of each candidate that do not count")
    parser.add_argument("--repeats", type=int, default=50, help="runs that count; their median is taken")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU")
    parser.add_argument("--batch_size", type=int, default=1, help="images of each run")
    parser.add_argument("--device", default="cpu", help="cpu, or a device of torch such as cuda")
    given, rest = parser.parse_known_args(args)
    if given.out.suffix != ".json":
        raise ValueError(f"--out must name a .json file, not '{given.out}'.")

    from lit_nas.cli.explain import explained
    from lit_nas.cli.training import TrainingCLI
    from lit_nas.networks.latency import network_pieces
    from lit_nas.networks.stopwatch import Stopwatch
    from lit_nas.search import SearchModule

    watch = Stopwatch(given.warm_up, given.repeats, given.threads, given.batch_size, given.device)
    with explained():
        layers = [word for path in given.config for word in ("-c", path)]
        model = TrainingCLI([*layers, *rest], run=False).model
    if not isinstance(model, SearchModule):
        raise ValueError(f"Latencies are those of the candidates of a search, but {type(model).__name__} is none.")
    pieces = network_pieces(model.network, model.architecture.space, model.spec)
    table = watch.measure(pieces)
    table.save(given.out)
    fixed = sum(table.latencies[piece.key] for piece in pieces if piece.place is None)
    sys.stdout.write(
        f"{given.out}: {len(table.latencies)} latencies on {table.about['machine']['processor']}, "
        f"{given.threads} thread(s), batches of {given.batch_size}; what is not searched takes {fixed:.3f} ms\n"
    )
