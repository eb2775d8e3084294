"""What each candidate of a search network costs: a table that expected costs are computed from."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.engine import Reference
from lit_nas.networks.complexity import costs_by_layer, memory_accesses, multiply_adds, pooled_numbers
from lit_nas.relaxations import Softmax
from lit_nas.spaces import CellSpace, SearchSpace
from lit_nas.specs import ImageSpec, Spec

__all__ = (
    "CostTable",
    "Measure",
    "candidate_costs",
    "candidates_of",
    "check_measure",
    "count_layers",
    "searched_cells",
)

Measure = Literal["parameters", "multiply_adds", "operations", "memory_access"]
"""What a candidate costs: learned numbers, or for one image multiply-adds of convolutions and linear layers, these and
an operation for each number that a pooling reads, or numbers that layers read and write (see `memory_accesses`)."""


@dataclass(frozen=True)
class CostTable:
    """The cost of each candidate at each position of a network. Compared by identity, because it holds tensors."""

    fixed: float
    """Cost of what is not searched: stem, preprocessing of the cells, classifier."""
    types: tuple[str, ...]
    """Cell type of each position, from input to output."""
    costs: tuple[Tensor, ...]
    """For each position the cost of each candidate, [E, O]; 0 where an edge does not have it."""

    @cached_property
    def by_type(self) -> dict[str, Tensor]:
        """Cell type -> sum over its positions, [E, O]."""
        return {
            name: torch.stack([cost for kind, cost in zip(self.types, self.costs, strict=True) if kind == name]).sum(0)
            for name in dict.fromkeys(self.types)
        }

    @cached_property
    def stacked(self) -> dict[str, Tensor]:
        """Cell type -> cost at each of its positions, [P, E, O]."""
        return {
            name: torch.stack([cost for kind, cost in zip(self.types, self.costs, strict=True) if kind == name])
            for name in dict.fromkeys(self.types)
        }

    def to(self, device: torch.device, dtype: torch.dtype) -> "CostTable":
        """The same table on a device, in numbers that it has."""
        return CostTable(self.fixed, self.types, tuple(cost.to(device, dtype) for cost in self.costs))


def candidate_costs(network: nn.Module, space: SearchSpace, spec: Spec, measure: Measure) -> CostTable:
    """The cost of each candidate of a search network, as it stands in that network.

    A copy of the network runs for its shapes; nothing is computed, and no random number of the run is used up.

    Args:
        network: The search network; maps images and a mixture to logits.
        space: What is searched.
        spec: The size of its images; all but parameters are counted for one of them.
        measure: What is counted.

    Returns:
        The table, float64 on the CPU.

    Raises:
        ValueError: if the measure is unknown, another one than parameters is asked for of anything but images, the
            network has no searched cells, or an edge does not hold its candidates one by one.
    """
    check_measure(measure, "The measure of a cost", files=False)
    cells = list(searched_cells(network))
    if not cells:
        raise ValueError(
            f"No {measure} of candidates can be counted, as {type(network).__name__} has no cells of the space: leave "
            "the expected cost out of model.optim.regularizers."
        )
    counts = _weights_by_layer(network) if measure == "parameters" else _of_one_image(network, space, spec, measure)
    total: Counter[str] = Counter()  # of each module with all that is in it
    for layer, count in counts.items():
        parts = layer.split(".")
        total.update({".".join(parts[:length]): count for length in range(1, len(parts) + 1)})
    types, costs = [], []
    for name, cell in cells:
        table = torch.zeros(len(cell.edges), len(cell.operations), dtype=torch.float64)
        for edge in range(len(cell.edges)):
            candidates = candidates_of(network, f"{name}.edges.{edge}", cell.names(edge))
            for o, operation in enumerate(cell.operations):
                if operation in candidates:
                    table[edge, o] = total[f"{name}.edges.{edge}.operations.{operation}"]
        types.append(cell.name)
        costs.append(table)
    searched = sum(float(table.sum()) for table in costs)
    return CostTable(sum(counts.values()) - searched, tuple(types), tuple(costs))


def check_measure(measure: str, owner: str, files: bool = True) -> None:
    """Refuses what is no measure.

    Args:
        measure: A `Measure`, or the path of a table of latencies, which is read when a search starts.
        owner: Whose it is, for the message.
        files: Whether it may be a path.

    Raises:
        ValueError: naming what is known.
    """
    if measure not in get_args(Measure) and not (files and str(measure).endswith(".json")):
        table = ", or the path of a table of latencies (.json, see `lit-nas latency`)" if files else ""
        raise ValueError(f"{owner} must be one of {', '.join(get_args(Measure))}{table}, not {measure!r}.")


def searched_cells(network: nn.Module) -> Iterator[tuple[str, CellSpace]]:
    """Name and DAG of each searched cell.

    Args:
        network: A search network.
    """
    for name, module in network.named_modules():
        space = getattr(module, "space", None)
        if isinstance(space, CellSpace):
            yield name, space


def candidates_of(network: nn.Module, name: str, names: Iterable[str]) -> nn.ModuleDict:
    """The candidates of an edge by name.

    Args:
        network: A search network.
        name: Of the edge.
        names: What must be there.

    Raises:
        ValueError: if they are not there one by one.
    """
    operations = getattr(network.get_submodule(name), "operations", None)
    if not isinstance(operations, nn.ModuleDict) or set(names) - set(operations):
        raise ValueError(
            f"The candidates of '{name}' share their weights, so that none has a cost of its own. Leave the expected "
            "cost out of model.optim.regularizers, or take edges that hold their candidates one by one."
        )
    return operations


def count_layers(network: nn.Module, spec: ImageSpec, measure: str) -> dict[str, int]:
    """What each layer of a network costs that maps images alone to logits, by its name.

    Args:
        network: That of a genotype.
        spec: The size of its images.
        measure: A `Measure`.
    """
    if measure == "parameters":
        return _weights_by_layer(network)
    return costs_by_layer(network, spec, _COUNTED[measure])  # type: ignore[index]  # which has been checked


def _weights_by_layer(network: nn.Module) -> dict[str, int]:
    """Learned numbers of each module that has some itself, by its name."""
    return {name: sum(p.numel() for p in module.parameters(recurse=False)) for name, module in network.named_modules()}


_COUNTED: dict[Measure, Callable[[str, nn.Module, Tensor], int]] = {
    "multiply_adds": lambda _, layer, output: multiply_adds(layer, output),
    "operations": lambda _, layer, output: multiply_adds(layer, output) + pooled_numbers(layer, output),
    "memory_access": lambda name, layer, output: memory_accesses(
        layer, output, name.split(".")[-2:-1] == ["operations"]
    ),
}


def _of_one_image(network: nn.Module, space: SearchSpace, spec: Spec, measure: Measure) -> dict[str, int]:
    if not isinstance(spec, ImageSpec):
        raise ValueError(
            f"{measure} are counted for one image, but this network reads {spec.samples}: choose the measure "
            "parameters, or leave the expected cost out of model.optim.regularizers."
        )
    network = copy.deepcopy(network)
    for module in network.modules():
        if hasattr(module, "engine"):
            # which calls the layers one by one
            module.engine = Reference()  # type: ignore[assignment]  # to torch an attribute is a tensor or a module
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        everything = Architecture(space, Softmax())()  # not that of the run, which may have lost candidates
    return costs_by_layer(network, spec, _COUNTED[measure], everything)
