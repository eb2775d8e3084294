"""What the network of a genotype costs, without building it for real."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from lit_nas.genotype import Genotype, load_genotype
from lit_nas.inputs import ImageSpec
from lit_nas.networks.cost import count_weights, multiply_adds_by_layer
from lit_nas.networks.evaluation import EvaluationNetwork

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ("describe", "format_table")

_DEFAULTS = {"cifar": (36, 20, 10, 32), "imagenet": (48, 14, 1000, 224)}  # channels, cells, classes, pixels


def describe(
    genotype: Genotype | str | Path,
    network: Literal["cifar", "imagenet"] = "cifar",
    init_channels: int | None = None,
    num_cells: int | None = None,
    num_classes: int | None = None,
) -> dict[str, Any]:
    """Counts weights and multiply-adds of an evaluation network.

    Images have 32x32 pixels for `cifar`, 224x224 for `imagenet`. Multiply-adds are those of `count_multiply_adds`.

    Args:
        genotype: A genotype, or anything that `load_genotype` takes.
        network: Stem and auxiliary head.
        init_channels: C of the first cell; None means the paper's, 36 or 48.
        num_cells: Depth; None means the paper's, 20 or 14.
        num_classes: K; None means 10 or 1000.

    Returns:
        Plain data: `genotype`, `network`, `init_channels`, `num_cells`, `num_classes`; `weights` and `multiply_adds`
        without the auxiliary head, `weights_auxiliary` of that head; `cells`, a list of rows with `index`, `type`,
        `channels` (of a node), `output` ([C, H, W]), `weights`, `multiply_adds`; `stem` and `classifier` with
        `weights` and `multiply_adds`.

    Raises:
        ValueError: if the network is unknown or the genotype does not fit it.
    """
    if network not in _DEFAULTS:
        raise ValueError(f"There is no network '{network}'. Known are: {', '.join(_DEFAULTS)}.")
    source, genotype = genotype, genotype if isinstance(genotype, Genotype) else load_genotype(genotype)
    name = genotype.name if isinstance(source, Genotype) else genotype.name or str(source)
    channels, cells, classes, pixels = _DEFAULTS[network]
    channels = channels if init_channels is None else init_channels
    cells = cells if num_cells is None else num_cells
    inputs = ImageSpec(3, pixels, pixels, classes if num_classes is None else num_classes)
    with torch.device("meta"):
        model = EvaluationNetwork(genotype, inputs, channels, cells, True, network).eval()
    layers = multiply_adds_by_layer(model, inputs)
    head = count_weights(model.auxiliary)
    return {
        "genotype": name,
        "network": network,
        "init_channels": channels,
        "num_cells": cells,
        "num_classes": inputs.classes,
        "weights": count_weights(model) - head,
        "weights_auxiliary": head,
        "multiply_adds": sum(layers.values()),
        "stem": _cost(model, layers, "stem"),
        "cells": _rows(model, layers, channels, pixels),
        "classifier": _cost(model, layers, "classifier"),
    }


def _cost(model: EvaluationNetwork, layers: dict[str, int], part: str) -> dict[str, int]:
    inside = (count for name, count in layers.items() if f"{name}.".startswith(f"{part}."))
    return {"weights": count_weights(model.get_submodule(part)), "multiply_adds": sum(inside)}


def _rows(model: EvaluationNetwork, layers: dict[str, int], channels: int, pixels: int) -> list[dict[str, Any]]:
    rows, side = [], pixels >> model.stem.reductions
    for index, kind in enumerate(model.types):
        if kind == "reduce":
            channels, side = 2 * channels, side // 2
        output = [len(model.cells[index].genotype.concat) * channels, side, side]
        cost = _cost(model, layers, f"cells.{index}")
        rows.append({"index": index, "type": kind, "channels": channels, "output": output, **cost})
    return rows


def format_table(descriptions: Sequence[dict[str, Any]]) -> "Group":
    """One line a genotype and, for a single genotype, one line a cell; print it with a `rich.console.Console`.

    Args:
        descriptions: What `describe` returns.
    """
    from rich.console import Group

    return Group(_summary(descriptions), *(_cells(each) for each in descriptions if len(descriptions) == 1))


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _summary(descriptions: Sequence[dict[str, Any]]) -> "Table":
    from rich.text import Text

    table = _table("", ("genotype", "network"), ("C", "cells", "weights", "auxiliary", "multiply-adds"))
    for each in descriptions:
        keys = ("init_channels", "num_cells", "weights", "weights_auxiliary", "multiply_adds")
        table.add_row(Text(each["genotype"]), each["network"], *(f"{each[key]:,}" for key in keys))  # no markup
    return table


def _cells(description: dict[str, Any]) -> "Table":
    table = _table("Cells", ("part",), ("C", "output", "weights", "multiply-adds"))

    def add(part: str, row: dict[str, Any], end: bool = False) -> None:
        output = "x".join(str(side) for side in row.get("output", ()))
        costs = f"{row['weights']:,}", f"{row['multiply_adds']:,}"
        table.add_row(part, str(row.get("channels", "")), output, *costs, end_section=end)

    add("stem", description["stem"], end=True)
    for row in description["cells"]:
        add(f"{row['index']:>3} {row['type']}", row, end=row is description["cells"][-1])
    add("classifier", description["classifier"])
    return table
