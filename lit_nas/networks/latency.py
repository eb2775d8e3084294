"""Latencies: what the candidates of a search network take on a machine, measured once and read from a file.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS, section 3.3): a network is expected to
take the sum over its parts, which are looked up by operation and shape.
Differs from the authors' code: a block is measured without the sum at its shortcut, and everything that is not searched
is measured part by part, whatever the space.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.atomic_write import write_text
from lit_nas.engine import Reference
from lit_nas.networks.candidate_costs import CostTable, candidate_costs, candidates_of, searched_cells
from lit_nas.networks.complexity import run_for_shapes
from lit_nas.operations import EVALUATION, Zero, build_operation
from lit_nas.relaxations import Softmax
from lit_nas.spaces import SearchSpace
from lit_nas.specs import ImageSpec, Spec

__all__ = (
    "LatencyTable",
    "Piece",
    "find_costs",
    "load_latencies",
    "network_pieces",
    "parts_of",
    "shapes_of",
    "sizes_of",
)

FORMAT, VERSION = "lit-nas latency", 1
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a search network that is measured by itself."""

    key: str
    """What it is looked up by: a candidate by its name and shapes, what is not searched by its place and shapes."""
    module: nn.Module
    """What runs: a candidate as the network of a genotype has it."""
    shapes: tuple[Shape, ...]
    """Of its inputs, each [C, H, W]."""
    place: tuple[int, int, int] | None = None
    """Of a candidate: number of its cell, of its edge, and its column; None is not searched."""


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds by the keys of pieces.

    Raises:
        ValueError: if a number is negative or not finite.
    """

    latencies: Mapping[str, float]
    """Key -> milliseconds."""
    about: Mapping[str, Any]
    """On what and how they were measured, as plain data."""

    def __post_init__(self) -> None:
        for key, value in self.latencies.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (isfinite(value) and value >= 0):
                raise ValueError(f"the latency of `{key}` must be a number of milliseconds, not {value!r}")

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Args:
            path: The file.
        """
        content = {"format": FORMAT, "version": VERSION, **self.about, "milliseconds": dict(self.latencies)}
        write_text(path, json.dumps(content, indent=2) + "\n")

    def check(self, pieces: Sequence[Piece], where: str, command: str) -> None:
        """Refuses pieces that it does not have.

        Args:
            pieces: What is looked up.
            where: What holds the table, for the message.
            command: What measures them.

        Raises:
            ValueError: if a latency is missing, naming one.
        """
        if missing := [key for key in dict.fromkeys(piece.key for piece in pieces) if key not in self.latencies]:
            raise ValueError(
                f"{where} lacks {len(missing)} of the latencies that this search needs, for example `{missing[0]}`: "
                f"measure them with {command} and the configuration of the search."
            )

    def costs(self, network: nn.Module, space: SearchSpace, spec: Spec, where: str = "The table") -> CostTable:
        """What the candidates of a search network take.

        Args:
            network: The search network.
            space: What is searched.
            spec: The size of its images.
            where: What holds the table, for error messages.

        Returns:
            The table, float64 on the CPU.

        Raises:
            ValueError: if a latency is missing, naming one, or the network cannot be measured part by part.
        """
        pieces = network_pieces(network, space, spec)
        self.check(pieces, where, "`lit-nas latency -c CONFIG --out FILE`")
        cells = [cell for _, cell in searched_cells(network)]
        costs = [torch.zeros(len(cell.edges), len(cell.operations), dtype=torch.float64) for cell in cells]
        fixed = 0.0
        for piece in pieces:
            if piece.place is None:
                fixed += self.latencies[piece.key]
            else:
                number, edge, column = piece.place
                costs[number][edge, column] = self.latencies[piece.key]
        return CostTable(fixed, tuple(cell.name for cell in cells), tuple(costs))


def load_latencies(path: str | Path) -> LatencyTable:
    """Reads a file that `lit-nas latency` has written.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no table of latencies '{path}'. Measure one on the machine that networks are to run on: "
            "`lit-nas latency -c CONFIG --out FILE`."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
        if content.get("version") != VERSION:
            raise ValueError(f"its version is {content.get('version')!r}, and this release reads {VERSION}")
        if not isinstance(latencies := content.get("milliseconds"), dict):
            raise ValueError("it has no `milliseconds`")
        return LatencyTable(latencies, {key: content[key] for key in ("machine", "measured") if key in content})
    except ValueError as error:
        raise ValueError(f"'{path}' is not a table of latencies: {error}.") from None


def find_costs(network: nn.Module, space: SearchSpace, spec: Spec, measure: str) -> CostTable:
    """The cost of each candidate of a search network, counted, or looked up in a table of latencies.

    Args:
        network: The search network.
        space: What is searched.
        spec: The size of its images.
        measure: `parameters`, `multiply_adds`, or the path of a table (`.json`).

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: as `candidate_costs` and `LatencyTable.costs` say.
    """
    if measure.endswith(".json"):
        return load_latencies(measure).costs(network, space, spec, f"The table '{measure}'")
    return candidate_costs(network, space, spec, measure)  # type: ignore[arg-type]  # which checks it


def network_pieces(network: nn.Module, space: SearchSpace, spec: Spec) -> list[Piece]:
    """The parts of a search network that are measured, those that repeat as often as they stand in it.

    A candidate without a path (`none`) is none of them: it takes no time. No random number of a run is used up.

    Args:
        network: The search network; a copy of it runs for its shapes, without computing anything.
        space: What is searched.
        spec: The size of its images.

    Raises:
        ValueError: if it does not read images, has no searched cells, or candidates share their weights.
    """
    if not isinstance(spec, ImageSpec):
        raise ValueError(f"Latencies are those of networks for images, but this network reads {spec.samples}.")
    cells = list(searched_cells(network))
    if not cells:
        raise ValueError(f"{type(network).__name__} has no cells of the space whose latency could be measured.")
    copied = copy.deepcopy(network)
    places: dict[str, tuple[int, int, int]] = {}
    for number, (name, cell) in enumerate(cells):
        for edge in range(len(cell.edges)):
            for operation in candidates_of(copied, f"{name}.edges.{edge}", cell.names(edge)):
                column = cell.operations.index(operation)
                places[f"{name}.edges.{edge}.operations.{operation}"] = number, edge, column
    pieces = []
    with torch.random.fork_rng(devices=[]):
        with torch.no_grad():
            everything = Architecture(space, Softmax())()  # not that of a run, which may have lost candidates
        for name, module, inputs, output in parts_of(copied, "", places, shapes_of(copied, spec, everything)):
            sizes = sizes_of(inputs, output)
            if name not in places:
                pieces.append(Piece(f"{name} {sizes}", module, inputs))
            elif not isinstance(module, Zero):
                operation, (before,) = name.rpartition(".")[2], inputs
                chosen = build_operation(operation, before[0], before[1] // output[1], EVALUATION, output[0])
                pieces.append(Piece(f"{operation} {sizes}", chosen, inputs, places[name]))
    return pieces


def shapes_of(network: nn.Module, spec: ImageSpec, *more: Any) -> dict[str, tuple[tuple[Shape, ...], Shape]]:
    """Inputs and output of each module that maps tensors to a tensor or a list of them, by its name.

    Args:
        network: Its cells are computed one by one from now on.
        spec: The size of its images.
        *more: Handed to the network after the images: the mixture of a search network.
    """
    found: dict[str, tuple[tuple[Shape, ...], Shape]] = {}

    def note(name: str, module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
        first = output[0] if isinstance(output, (list, tuple)) and output else output
        if isinstance(first, Tensor) and inputs and all(isinstance(each, Tensor) for each in inputs):
            found[name] = tuple(tuple(each.shape[1:]) for each in inputs), tuple(first.shape[1:])

    for name, module in network.named_modules():
        if hasattr(module, "engine"):
            # which calls the candidates one by one
            module.engine = Reference()
        module.register_forward_hook(partial(note, name))
    run_for_shapes(network.eval(), spec, *more)
    for module in network.modules():
        module._forward_hooks.clear()
    return found


def parts_of(
    module: nn.Module,
    name: str,
    candidates: Mapping[str, Any],
    shapes: Mapping[str, tuple[tuple[Shape, ...], Shape]],
) -> Iterator[tuple[str, nn.Module, tuple[Shape, ...], Shape]]:
    """Name, module, inputs and output of candidates, and of the largest modules without any that were called.

    Args:
        module: A network or a part of one.
        name: Of the part; empty for the network.
        candidates: Their names.
        shapes: What `shapes_of` the network says.
    """
    inside = f"{name}." if name else ""
    if name in candidates or (name in shapes and not any(each.startswith(inside) for each in candidates)):
        yield name, module, *shapes[name]
        return
    for child, part in module.named_children():
        yield from parts_of(part, f"{inside}{child}", candidates, shapes)


def sizes_of(inputs: Sequence[Shape], output: Shape) -> str:
    """Shapes as keys of latencies have them: `56x56x24 -> 28x28x48`."""
    return f"{_text(inputs)} -> {_text([output])}"


def _text(shapes: Sequence[Shape]) -> str:
    """`56x56x24` for 24 channels of 56x56 pixels; a vector is its length."""
    return "+".join("x".join(str(side) for side in (*shape[1:], shape[0])) for shape in shapes)
