"""What the network of a genotype costs, without building it for real."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lit_nas.genotype import Genotype, load_genotype
from lit_nas.networks.complexity import count_weights, multiply_adds_by_layer, run_for_shapes
from lit_nas.networks.registry import build_retrain_network, find_retrain_network, retrain_name
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.report.describe_text import describe_text
from lit_nas.specs import ImageSpec, TextSpec

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

__all__ = ("describe", "format_table")


def describe(
    genotype: Genotype | str | Path,
    network: str | RetrainNetwork | None = None,
    init_channels: int | None = None,
    num_cells: int | None = None,
    num_classes: int | None = None,
    pool_norm: bool | None = None,
    width: int | None = None,
) -> dict[str, Any]:
    """Counts weights and multiply-adds of an evaluation network.

    Images have the size of the network's paper. Multiply-adds are those of `count_multiply_adds`; of a language model
    those for a token, with d in the place of `init_channels` and the vocabulary in that of `num_classes`. Its embedding
    is the `stem`, whose weights the decoder shares.

    Args:
        genotype: A genotype, or anything that `load_genotype` takes.
        network: What is built of it, by name or itself; None means that of the space of the genotype.
        init_channels: C of the first cell; None means the paper's.
        num_cells: Depth; None means the paper's.
        num_classes: K, or the number of words; None means the paper's.
        pool_norm: Whether an affine BatchNorm follows each pooling; None means as `network` says.
        width: d of a language model; None means the paper's.

    Returns:
        Plain data: `genotype`, `network`, `init_channels`, `num_cells` (None where the
        network has no such number), `num_classes`; `weights` and `multiply_adds`
        without the auxiliary head, `weights_auxiliary` of that head; `cells`, a list of rows with `index`, `type`,
        `channels` (of a node), `output` ([C, H, W]), `weights`, `multiply_adds`; `stem` and `classifier` with
        `weights` and `multiply_adds`.

    Raises:
        ValueError: if the network is unknown or the genotype does not fit it.
    """
    source, genotype = genotype, genotype if isinstance(genotype, Genotype) else load_genotype(genotype)
    name = genotype.label if isinstance(source, Genotype) else genotype.label or str(source)
    found = find_retrain_network(network, genotype)
    kind = found.with_numbers(init_channels=init_channels, num_cells=num_cells, pool_norm=pool_norm, width=width)
    spec = kind.paper_spec
    if isinstance(spec, TextSpec):
        return describe_text(genotype, name, kind, found, spec if num_classes is None else TextSpec(num_classes))
    assert isinstance(spec, ImageSpec)  # there are no other kinds
    spec = spec if num_classes is None else replace(spec, classes=num_classes)
    with torch.device("meta"):
        model = build_retrain_network(kind, genotype, spec, auxiliary=kind.has_auxiliary).eval()
    layers = multiply_adds_by_layer(model, spec)
    auxiliary = getattr(model, "auxiliary", None)
    head = 0 if auxiliary is None else count_weights(auxiliary)
    tail = [part for part, _ in model.named_children() if part not in ("stem", "cells", "auxiliary")]
    return {
        "genotype": name,
        "network": retrain_name(found),
        "init_channels": getattr(kind, "init_channels", None),
        "num_cells": getattr(kind, "num_cells", None),
        "num_classes": spec.classes,
        "weights": count_weights(model) - head,
        "weights_auxiliary": head,
        "multiply_adds": sum(layers.values()),
        "stem": _cost(model, layers, "stem"),
        "cells": _rows(model, layers, genotype, spec),
        "classifier": _cost(model, layers, *tail),
    }


def _cost(model: nn.Module, layers: dict[str, int], *parts: str) -> dict[str, int]:
    inside = (count for name, count in layers.items() if f"{name}.".startswith(tuple(f"{part}." for part in parts)))
    weights = sum(count_weights(model.get_submodule(part)) for part in parts)
    return {"weights": weights, "multiply_adds": sum(inside)}


def _rows(model: nn.Module, layers: dict[str, int], genotype: Genotype, spec: ImageSpec) -> list[dict[str, Any]]:
    outputs: list[list[int]] = []
    cells = model.get_submodule("cells")
    assert isinstance(cells, nn.ModuleList)  # as `RetrainNetwork.build` says
    types: Sequence[str] = model.types  # type: ignore[assignment]  # to torch an attribute is a tensor or a module
    hooks = [
        cell.register_forward_hook(lambda module, arguments, output: outputs.append(list(output.shape[1:])))
        for cell in cells
    ]
    run_for_shapes(model, spec)
    for hook in hooks:
        hook.remove()
    rows = []
    for index, (kind, output) in enumerate(zip(types, outputs, strict=True)):
        nodes = len(genotype.cells[kind].concat) if kind in genotype.cells else 1
        cost = _cost(model, layers, f"cells.{index}")
        rows.append({"index": index, "type": kind, "channels": output[0] // nodes, "output": output, **cost})
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
        numbers = ("" if each[key] is None else f"{each[key]:,}" for key in keys)
        table.add_row(Text(each["genotype"]), each["network"], *numbers)  # no markup
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
