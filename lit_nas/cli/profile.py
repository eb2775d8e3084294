"""The command that says which weights, multiply-adds and latencies a search space offers."""

import argparse
import json
import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from lit_nas.atomic_write import write_text
from lit_nas.cli.configured import add_stopwatch, check_json, configured, parser_of_configuration, stopwatch

if TYPE_CHECKING:
    from lit_nas.networks import RetrainNetwork
    from lit_nas.networks.derived_costs import NetworkCosts
    from lit_nas.search import SearchModule

__all__ = ("profile",)

MEASURES = {"weights": "parameters", "multiply_adds": "multiply_adds", "latency": "latency"}
"""What is printed, by the name that counts have elsewhere."""


def profile(args: Sequence[str]) -> None:
    """Prints which weights, multiply-adds (of one image) and latencies (on this machine) a search may come to.

    They are those of derived networks, as they are retrained, and not those of the search network: of the retraining
    network of the space with the numbers of its paper, unless --network, --init_channels and --num_cells say otherwise.
    Least and most are the sums of the cheapest and the dearest choices; the median is that of random networks, drawn
    with --seed. Latencies are sums of the parts of a network, each measured by itself. A target counts as reachable if
    a network within 10 % of it was found. All other arguments are those of `lit-nas fit`: configurations (`-c FILE`),
    and keys that win over them.
    """
    parser = parser_of_configuration("profile", profile.__doc__)
    parser.add_argument("--network", help="retraining network by name; the default is that of the space")
    parser.add_argument("--init_channels", type=int, help="C of the first cell of the retraining network")
    parser.add_argument("--num_cells", type=int, help="depth of the retraining network")
    for name, unit in (("weights", "learned numbers"), ("multiply_adds", "of one image"), ("latency", "milliseconds")):
        parser.add_argument(f"--target.{name}", dest=f"target_{name}", metavar="NUMBER", help=f"target, {unit}")
    parser.add_argument("--samples", type=int, default=200, help="random networks for the median")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random networks")
    parser.add_argument("--no_latency", action="store_true", help="measure no latencies, which takes the longest")
    parser.add_argument("--out", type=Path, help="JSON file for the latencies, which CostTarget.measure may name")
    parser.add_argument("--json", type=Path, help="JSON file for what is printed")
    add_stopwatch(parser, "part", warm_up=5, repeats=20)
    given, rest = parser.parse_known_args(args)
    targets = {name: _target(getattr(given, f"target_{name}"), name) for name in MEASURES}
    _check(given, targets)

    from lit_nas.networks.registry import default_retrain_network, find_retrain_network
    from lit_nas.report.cost_range import CostRange, format_range
    from lit_nas.search import SearchModule
    from lit_nas.search.found_genotype import rule_of

    model = configured(given, rest).model
    if not isinstance(model, SearchModule):
        raise ValueError(f"A profile is that of the space of a search, but {type(model).__name__} is none.")
    space = model.architecture.space
    found = default_retrain_network(space.name) if given.network is None else find_retrain_network(given.network, None)
    network = found.with_numbers(init_channels=given.init_channels, num_cells=given.num_cells)
    rows, lines, told = [], [], {}
    for name in MEASURES if not given.no_latency else list(MEASURES)[:2]:
        costs = _costs(model, network, name, given)
        spread, show = CostRange(space, rule_of(model), costs), _milliseconds if name == "latency" else _counted
        values = spread.least, spread.median(given.samples, given.seed), spread.most
        rows.append((f"{name} (ms)" if name == "latency" else name, *map(show, values)))
        told[name] = dict(zip(("least", "median", "most"), values, strict=True))
        if (target := targets[name]) is not None:
            nearest = spread.nearest(target)
            told[name] |= {"target": target, "nearest": nearest.cost, "reachable": nearest.reached}
            verdict = "can be reached" if nearest.reached else "cannot be reached"
            lines.append(
                f"The target of {show(target)} {name} {verdict}: the nearest network that was found has "
                f"{show(nearest.cost)} ({100 * nearest.deviation:+.1f} %)."
            )
    head = f"{type(network).__name__}{_numbers(network)}, images {model.spec}\n"
    sys.stdout.write(head + format_range(rows, lines))
    if given.json is not None:
        write_text(given.json, json.dumps(told, indent=2) + "\n")


def _costs(model: "SearchModule", network: "RetrainNetwork", name: str, given: argparse.Namespace) -> "NetworkCosts":
    from lit_nas.networks.derived_costs import derived_costs, derived_pieces, latency_costs

    space, spec = model.architecture.space, model.spec
    if name != "latency":
        return derived_costs(space, spec, network, MEASURES[name])
    table = stopwatch(given).measure(derived_pieces(space, spec, network))
    if given.out is not None:
        table.save(given.out)
    return latency_costs(space, spec, network, table)


def _target(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = 0.0
    if not (isfinite(value) and value > 0):
        raise ValueError(f"--target.{name} must be a positive number, such as 2e6, not '{text}'.")
    return value


def _check(given: argparse.Namespace, targets: dict[str, float | None]) -> None:
    if given.samples < 1:
        raise ValueError(f"--samples must be at least 1, not {given.samples}.")
    for name in ("out", "json"):
        check_json(f"--{name}", getattr(given, name))
    if given.no_latency and (given.out is not None or targets["latency"] is not None):
        raise ValueError("--no_latency measures no latencies: leave it out, or leave out --out and --target.latency.")


def _numbers(network: "RetrainNetwork") -> str:
    told = [f"{name} {getattr(network, name)}" for name in ("init_channels", "num_cells") if hasattr(network, name)]
    return f" ({', '.join(told)})" if told else ""


def _counted(value: float) -> str:
    return f"{round(value):,}"


def _milliseconds(value: float) -> str:
    return f"{value:.3f}"
