"""The command that groups the operations of a search by the correlation of their outputs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lit_nas.cli.configured import configured, parser_of_configuration

__all__ = ("correlate",)


OPTIONS = {
    "clustering.count": "--groups",
    "clustering.threshold": "--threshold",
    "correlation.edges": "--edges",
    "correlation.definition": "--definition",
    "correlation.exclude": "--exclude",
}
"""Argument, as the parts name it -> as this command does."""


@contextmanager
def _options() -> Iterator[None]:
    """Lets messages of the parts name the options of this command."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for name, option in OPTIONS.items():
            text = text.replace(name, option)
        raise ValueError(text) from error


def correlate(args: Sequence[str]) -> None:
    """Correlates the outputs of the candidates of a supernet over training images, and groups what is alike.

    Writes correlation.csv, correlation.svg and groups.json. All other arguments are those of `lit-nas fit`:
    configurations (`-c FILE`), and keys that win over them, such as `--data.root` or `--trainer.accelerator`.
    """
    parser = parser_of_configuration("correlate", correlate.__doc__)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--ckpt_path", type=Path, help="checkpoint of the search, whose supernet is looked at")
    weights.add_argument("--untrained", action="store_true", help="look at a freshly initialised supernet")
    parser.add_argument("-o", "--output", type=Path, default=Path("correlation"), help="folder to make")
    parser.add_argument("--images", type=int, default=10_000, help="training images, not augmented")
    parser.add_argument("--edges", choices=("ends", "all"), default="ends", help="edges of each cell")
    parser.add_argument("--definition", choices=("features", "maps"), default="features", help="what is centred")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="OP", help="operations that are left out")
    parser.add_argument("--threshold", type=float, help="average correlation within a group (0.25)")
    parser.add_argument("--groups", type=int, help="number of groups, instead of a threshold")
    parser.add_argument("--picture", choices=("svg", "png"), default="svg", help="format of the heat map")
    given, rest = parser.parse_known_args(args)
    if given.images < 2:
        raise ValueError(f"--images must be at least 2, not {given.images}.")
    if given.output.exists():
        raise FileExistsError(f"'{given.output}' exists already: choose another folder with -o FOLDER.")

    from lit_nas.callbacks import group_operators
    from lit_nas.correlation import Clustering, OperatorCorrelation
    from lit_nas.record.recorded_module import read_checkpoint
    from lit_nas.search import SearchModule

    with _options():
        how = OperatorCorrelation(given.edges, given.definition, tuple(given.exclude))
        clustering = Clustering(given.threshold, given.groups)
    checkpoint = None if given.untrained else read_checkpoint(given.ckpt_path)
    built = configured(given, rest)
    model, data, device = built.model, built.datamodule, built.trainer.strategy.root_device
    if not isinstance(model, SearchModule):
        raise ValueError(f"Correlations are those of the candidates of a search, but {type(model).__name__} is none.")
    if not hasattr(data, "training_images"):
        raise ValueError(f"Correlations are taken over training images, which {type(data).__name__} does not have.")
    with _options():
        clustering.check(how.check(model.network, model.architecture))
    if checkpoint is not None:
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(checkpoint["state_dict"])
    data.prepare_data()
    data.setup("fit")
    model.to(device)
    images = data.training_images(given.images, device)
    with _options():
        text = group_operators(model, images, given.images, how, clustering, given.output, given.picture)
    sys.stdout.write(text + f"Written to {given.output}\n")
