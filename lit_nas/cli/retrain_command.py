"""The command that retrains what a search has found, in any space."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import LightningDataModule

from lit_nas.genotype import Genotype
from lit_nas.networks.registry import SPACES, find_retrain_network
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.record.names import public_name
from lit_nas.record.plain import default_arguments, plain
from lit_nas.regularizers import CostTarget
from lit_nas.search import SearchModule
from lit_nas.spaces import SearchSpace
from lit_nas.specs import ImageSpec, TextSpec

__all__ = ("find_layers", "retrain_arguments")

CONFIGS = Path("configs")
SPLIT = ("split", "split_seed", "test_fraction")
CANDIDATES = ("candidates", "dags", "operations", "rows", "vertices")
"""Fields of spaces that say what is chosen among, which is of no matter once it has been chosen."""


def retrain_arguments(
    folder: Path, genotype: Genotype, module: SearchModule, data: LightningDataModule
) -> tuple[list[str], bool] | None:
    """Arguments of `lit-nas` that retrain the cells of a search on the data that it had.

    Args:
        folder: Of the search, which has left its `genotype.json` there.
        genotype: What it has found.
        module: The search. If a cost had a target, it is retrained in the network that the target was for.
        data: What it has searched on.

    Returns:
        The arguments, and whether they are a recipe of `configs/`; None where no network fits.
    """
    spec = module.spec
    networks, numbers = _networks(genotype, module)
    found = _first_that_fits(networks, numbers, genotype, module.architecture.space, spec)
    if found is None:
        return None
    network, auxiliary = found
    words = ["--model.genotype", str(folder / "genotype.json")]
    if network != next(iter(SPACES[genotype.space].retrain.values())):
        words += ["--model.network", json.dumps(_brief(network))]
    for name, number in numbers.items():
        words += [f"--model.{name}", str(number)]
    if not auxiliary and isinstance(spec, ImageSpec):
        words += ["--model.optim.auxiliary_weight", "0"]
    into = ["--trainer.default_root_dir", str(_free(folder))]
    if layers := find_layers(type(data).__name__, genotype.space):
        # the file trains on all training images, which a search that drew its test part has not kept apart
        split = _split(data) if getattr(data, "test_rule", None) else []
        files = [word for path in layers for word in ("-c", str(path))]
        return ["fit", *files, *words, *split, *into], True
    model = "LanguageRetrainModule" if isinstance(spec, TextSpec) else "RetrainModule"
    return ["fit", "--model", model, *words, *_own_data(data), "--trainer.max_epochs", "600", *into], False


def _networks(genotype: Genotype, module: SearchModule) -> tuple[list[RetrainNetwork], dict[str, int]]:
    """The networks of the space, or the one that a target of costs was for, with its numbers."""
    for part in module.optim.regularizers:
        if isinstance(part, CostTarget) and part.network != "search":
            numbers = {"init_channels": part.init_channels, "num_cells": part.num_cells}
            given = {name: number for name, number in numbers.items() if number is not None}
            return [find_retrain_network(part.network, genotype)], given
    return list(SPACES[genotype.space].retrain.values() if genotype.space in SPACES else ()), {}


def _first_that_fits(
    networks: Sequence[RetrainNetwork], numbers: Mapping[str, int], genotype: Genotype, space: SearchSpace, spec: Any
) -> tuple[RetrainNetwork, bool] | None:
    """The first network that can be built with these numbers, and whether with an auxiliary head."""
    if not isinstance(spec, (ImageSpec, TextSpec)):
        return None
    for known in networks:
        for network in _fitted(known, space):
            for auxiliary in (True, False) if network.has_auxiliary else (False,):
                try:
                    with torch.device("meta"):
                        network.with_numbers(**numbers).build(genotype, spec, auxiliary)
                except (ValueError, NotImplementedError):
                    continue  # images are too small for it, or an operator of a user does without shapes alone
                return network, auxiliary
    return None


def _fitted(network: RetrainNetwork, space: SearchSpace) -> Iterator[RetrainNetwork]:
    """A network with the widths that were searched, where it has any; otherwise as it is."""
    description: Any = network
    own = getattr(network, "space", None)
    if not isinstance(own, type(space)) or not is_dataclass(space):
        yield network
        return
    # the candidates of the network's own space, as long as these may stand beside the widths that were searched
    widths = {field.name: getattr(space, field.name) for field in fields(space) if field.name not in CANDIDATES}
    try:
        yield replace(description, space=replace(own, **widths))
    except ValueError:
        yield replace(description, space=space)


def _brief(value: Any) -> Any:
    """The plain form of a part, without arguments that have their defaults."""
    made = plain(value)
    if is_dataclass(value) and isinstance(made, dict) and "class_path" in made:
        defaults = default_arguments(type(value))
        given = {name: _brief(getattr(value, name)) for name in made["init_args"] if hasattr(value, name)}
        given = {k: v for k, v in given.items() if plain(getattr(value, k)) != defaults.get(k)}
        return {"class_path": made["class_path"], **({"init_args": given} if given else {})}
    return made


def _free(folder: Path) -> Path:
    """A folder beside that of the search which holds nothing yet."""
    number, found = 1, folder.with_name(f"{folder.absolute().name}_retrain")
    while found.exists():
        number += 1
        found = folder.with_name(f"{folder.absolute().name}_retrain_{number}")
    return found


def find_layers(data: str, space: str) -> list[Path]:
    """The layers of `configs/` that retrain on a data set, where the checkout lies in this folder; otherwise none.

    Args:
        data: Class of the data.
        space: Name of the space.
    """
    network = next(iter(SPACES[space].retrain), None) if space in SPACES else None
    # a folder of images may hold anything, and the recipes are not for images as small as the digits
    if network is None or data in ("ImageFolderDataModule", "DigitsDataModule"):
        return []
    configurations = sorted((CONFIGS / "retrain").glob("*.yaml"))
    bases = [path for path in configurations if _section(path, "model").get("init_args", {}).get("network") == network]
    for base in bases:
        for layers in ([base], *([base, path] for path in sorted((CONFIGS / "layers" / "data").glob("*.yaml")))):
            if _section(layers[-1], "data").get("class_path") == data:
                return layers
    return []


def _section(path: Path, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")).get(name, {}))


def _own_data(data: LightningDataModule) -> list[str]:
    """The data of a search as arguments of a retraining, which merges the parts that trained."""
    of_ours = type(data).__module__.startswith("lit_nas.")
    name = type(data).__name__ if of_ours else public_name(type(data))
    left_out = {*SPLIT, "limit", "validate_on_test", "test_batch_size"}  # what a search alone needs
    return ["--data", name, *_split(data), *_arguments(data, [key for key in data.hparams if key not in left_out])]


def _split(data: LightningDataModule) -> list[str]:
    """How a search divided its data, as far as that is not the default."""
    return _arguments(data, SPLIT)


def _arguments(data: LightningDataModule, names: Any) -> list[str]:
    words, defaults = [], default_arguments(type(data))
    for name in names:
        try:
            value = plain(data.hparams.get(name, defaults.get(name)))
        except TypeError:  # a function, say, of a data module of the user's own
            continue
        if value is not None and value != defaults.get(name):
            words += [f"--data.{name}", value if isinstance(value, str) else json.dumps(value)]
    return words
