"""The command that writes a network for use without lit-nas: plain argparse."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_nas.cli.genotypes import SOURCE, import_network
from lit_nas.export.formats import FORMATS, check_target
from lit_nas.genotype import load_genotype

__all__ = ("export",)

OF_A_GENOTYPE = ("network", "init_channels", "num_cells", "pool_norm", "image", "num_classes")


def export(args: Sequence[str]) -> None:
    """Writes the network of a retraining, with its weights, or the code of that of a genotype.

    What is written is read again and compared with the network. A genotype, or a checkpoint of a search, has no weights
    of such a network, so that only its code can be written (`--format python`).
    """
    parser = argparse.ArgumentParser("lit-nas export", description=export.__doc__)
    parser.add_argument("source", metavar="CKPT_OR_GENOTYPE", help=f"checkpoint of a retraining; or {SOURCE}")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="what is written")
    parser.add_argument("-o", "--output", type=Path, help="file to write; by default beside the source, or here")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="of classes of your own that a checkpoint names"
    )
    genotype = parser.add_argument_group("network of a genotype (that of a checkpoint of a retraining is known)")
    genotype.add_argument("--network", help="name of a network, or package.Class of one; by default that of the space")
    genotype.add_argument("--init_channels", type=int, help="C of the first cell; by default that of the paper")
    genotype.add_argument("--num_cells", type=int, help="depth in cells; by default that of the paper")
    genotype.add_argument("--pool_norm", action="store_true", default=None, help="BatchNorm after each pooling")
    genotype.add_argument("--image", type=int, nargs=3, metavar=("C", "H", "W"), help="by default that of the paper")
    genotype.add_argument("--num_classes", type=int, help="labels; by default those of the paper")
    given = parser.parse_args(args)
    output = given.output or _beside(given.source, FORMATS[given.format])

    check_target(output, given.format)

    from lit_nas.export import export_network

    module = _retraining(given.source, given.trust)
    if module is not None:
        if named := [f"--{name}" for name in OF_A_GENOTYPE if getattr(given, name) is not None]:
            raise ValueError(f"Leave out {', '.join(named)}: '{given.source}' says which network was trained.")
        about = f"The network of {given.source}, trained as {type(module).__name__}."
        difference = export_network(module.network, module.spec, output, given.format, about)
    else:
        network, spec, about = _of_a_genotype(given)
        difference = export_network(network, spec, output, given.format, about, weights=False)
    files = [output, output.with_suffix(".pt")] if module is not None and given.format == "python" else [output]
    sys.stdout.write(f"{', '.join(map(str, files))}: logits differ by at most {difference:.1e}\n")


def _beside(source: str, suffix: str) -> Path:
    """The file of the same name; for what is no file, one in the present folder."""
    path = Path(source)
    if path.is_file():
        return path.with_suffix(suffix)
    return Path(f"{'network' if source.lstrip().startswith('|') else source}{suffix}")


def _retraining(source: str, trust: Sequence[str]) -> Any:
    """The module of a checkpoint of a retraining; None for what has no weights of such a network."""
    if Path(source).suffix != ".ckpt":
        return None

    from lit_nas.record.recorded_module import load_module, read_checkpoint
    from lit_nas.specs import ImageSpec

    if any(name.startswith("architecture.") for name in read_checkpoint(source)["state_dict"]):
        return None  # of a search, which `load_genotype` reads
    try:
        module = load_module(source, trust)
    except ValueError as error:
        raise ValueError(re.sub(r"load_module\(path, trust=\('(.*?)',\)\)", r"--trust \1", str(error))) from error
    if not isinstance(module.spec, ImageSpec):
        raise ValueError(f"Networks for images are exported, but {type(module).__name__} is for {module.spec.samples}.")
    return module


def _of_a_genotype(given: argparse.Namespace) -> tuple[Any, Any, str]:
    """An untrained network, its images and labels, and what it is."""
    from lit_nas.networks.registry import build_retrain_network, find_retrain_network, retrain_name
    from lit_nas.specs import ImageSpec

    network = import_network(given.network) if "." in (given.network or "") else given.network
    genotype = load_genotype(given.source)
    kind = find_retrain_network(network, genotype)
    kind = kind.with_numbers(init_channels=given.init_channels, num_cells=given.num_cells, pool_norm=given.pool_norm)
    spec = kind.paper_spec
    if not isinstance(spec, ImageSpec):
        raise ValueError(
            f"'{given.source}' is a genotype for {spec.samples}, but networks for images alone are exported."
        )
    if given.format != "python":
        raise ValueError(
            f"'{given.source}' is a genotype without the weights of a network: retrain it (`lit-nas fit --model "
            f"RetrainModule --model.genotype {given.source}` with data) and export its checkpoint, or write the "
            "code of the network with --format python."
        )
    if given.image is not None:
        channels, height, width = given.image
        spec = replace(spec, channels=channels, height=height, width=width)
    spec = spec if given.num_classes is None else replace(spec, classes=given.num_classes)
    name = genotype.label or Path(given.source).name
    return build_retrain_network(kind, genotype, spec), spec, f"The network '{retrain_name(kind)}' of {name}."
