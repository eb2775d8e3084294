"""The command that measures what the candidates of a search take on this machine."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lit_nas.cli.configured import add_stopwatch, check_json, configured, parser_of_configuration, stopwatch

__all__ = ("latency",)


def latency(args: Sequence[str]) -> None:
    """Measures the candidates of a search on this machine, for `ExpectedCost` and `CostFactor` (their `measure`).

    All other arguments are those of `lit-nas fit`: configurations (`-c FILE`), and keys that win over them.
    """
    parser = parser_of_configuration("latency", latency.__doc__)
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")
    add_stopwatch(parser, "candidate", warm_up=10, repeats=50)
    given, rest = parser.parse_known_args(args)
    check_json("--out", given.out)

    from lit_nas.networks.latency import network_pieces
    from lit_nas.search import SearchModule

    watch, model = stopwatch(given), configured(given, rest).model
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
