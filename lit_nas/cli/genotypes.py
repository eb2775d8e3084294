"""Commands about genotypes: plain argparse, and no import of Lightning where none is needed."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit_nas.networks import RetrainNetwork

__all__ = ("derive", "describe", "draw")

SOURCE = "JSON file, checkpoint of a search, published name, or architecture string of NAS-Bench-201"


def derive(args: Sequence[str]) -> None:
    """Writes the discrete cells of a search checkpoint."""
    parser = argparse.ArgumentParser("lit-nas derive", description=derive.__doc__)
    parser.add_argument("--ckpt_path", required=True, type=Path, help="checkpoint of a search")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file to write")
    given = parser.parse_args(args)

    from lit_nas.genotype import read_genotype

    # the checkpoint holds what its architecture stands for by the rule of the run: no code of its classes is needed
    read_genotype(given.ckpt_path).save(given.output)
    sys.stdout.write(f"{given.output}\n")


def describe(args: Sequence[str]) -> None:
    """Prints weights, multiply-adds and a table per cell of the evaluation network of genotypes."""
    parser = argparse.ArgumentParser("lit-nas describe", description=describe.__doc__)
    parser.add_argument("genotypes", nargs="+", metavar="GENOTYPE", help=SOURCE)
    parser.add_argument("--network", help="name of a network, or package.Class of one; by default that of the space")
    parser.add_argument("--init_channels", type=int, help="C of the first cell; by default that of the paper")
    parser.add_argument("--num_cells", type=int, help="depth in cells; by default that of the paper")
    parser.add_argument("--num_classes", type=int, help="labels; by default those of the paper")
    parser.add_argument(
        "--pool_norm", action="store_true", default=None, help="BatchNorm after each pooling, as in DropNAS and StacNAS"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="what is printed")
    given = parser.parse_args(args)

    from lit_nas.report.describe import describe as describe_one
    from lit_nas.report.describe import format_table

    network = given.network
    if network is not None and "." in network:  # before a genotype is read, whose space it may define
        network = import_network(network)
    rows = [
        describe_one(source, network, given.init_channels, given.num_cells, given.num_classes, given.pool_norm)
        for source in given.genotypes
    ]
    if given.format == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        from rich.console import Console

        Console().print(format_table(rows))
        Console().print(
            "Multiply-adds: convolutions and linear layers, one image, without the auxiliary head. Papers that count "
            "other layers too print more."
        )


def import_network(path: str) -> "RetrainNetwork":
    from lit_nas.networks import RetrainNetwork
    from lit_nas.record.names import import_class

    found = import_class(path)
    if not issubclass(found, RetrainNetwork):
        raise ValueError(f"'{path}' is not a retraining network: it must be a subclass of RetrainNetwork.")
    return found()


def draw(args: Sequence[str]) -> None:
    """Draws the cells of a genotype."""
    parser = argparse.ArgumentParser("lit-nas draw", description=draw.__doc__)
    parser.add_argument("genotype", metavar="GENOTYPE", help=SOURCE)
    parser.add_argument("-o", "--output", required=True, type=Path, help="picture to write, .svg or .png")
    given = parser.parse_args(args)

    from lit_nas.genotype import load_genotype
    from lit_nas.report.draw import draw_genotype

    draw_genotype(load_genotype(given.genotype), given.output)
    sys.stdout.write(f"{given.output}\n")
