"""What a network costs that a genotype stands for: a table by edge and operation, from which each genotype is counted.

The network of a genotype costs the sum over its edges and what is not searched, so that one network for each operation,
with that operation on all edges, tells what any genotype costs. Latencies are such sums as well (Cai, Zhu, Han, ICLR
2019, https://arxiv.org/abs/1812.00332, section 3.3).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.networks.candidate_costs import CostTable, check_measure, count_layers
from lit_nas.networks.latency import LatencyTable, Piece, load_latencies, parts_of, shapes_of, sizes_of
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.operations import original
from lit_nas.spaces import CellSpace, SearchSpace
from lit_nas.specs import ImageSpec, Spec

__all__ = ("NetworkCosts", "derived_costs", "derived_pieces", "edge_modules", "latency_costs")


@dataclass(frozen=True, eq=False)
class NetworkCosts:
    """What each choice of a space costs in a network, and with it each network of a genotype."""

    space: SearchSpace
    """What is searched."""
    fixed: float
    """What is not searched."""
    by_type: Mapping[str, Tensor]
    """Cell type -> sum over its places in the network, [E, O]; 0 where an edge does not have a candidate."""
    count: Callable[[Genotype], float] | None = None
    """Counts the network of a genotype itself, where it is not the sum; None takes the sum for all."""

    @classmethod
    def of_search(cls, table: CostTable, space: SearchSpace) -> "NetworkCosts":
        """Those of the search network: its genotype keeps the candidates that it names.

        Args:
            table: Cost of each candidate.
            space: What is searched.
        """
        return cls(space, table.fixed, table.by_type)

    def to(self, device: torch.device, dtype: torch.dtype) -> "NetworkCosts":
        """The same costs with a table on a device, in numbers that it has; genotypes are counted on the host."""
        moved = replace(self, by_type={name: cost.to(device, dtype) for name, cost in self.by_type.items()})
        vars(moved)["_by_edge"] = self._by_edge
        return moved

    def of(self, genotype: Genotype) -> float:
        """The cost of the network of a genotype.

        Where a derived cell lacks nodes that the cell of the space has, the parts behind it have fewer channels, and
        the network is counted by itself, as far as that can be done.

        Args:
            genotype: Of the space.
        """
        whole = all(set(genotype.cells[name].concat) == set(cell.concat) for name, cell in self._cells.items())
        if not whole and self.count is not None:
            return self.count(genotype)
        return self.fixed + sum(
            self._by_edge[name].get(Edge(original(edge.operation), edge.source, edge.target), 0.0)
            for name in self._cells
            for edge in genotype.cells[name].edges
        )

    @cached_property
    def _cells(self) -> dict[str, CellSpace]:
        return self.space.cells

    @cached_property
    def _by_edge(self) -> dict[str, dict[Edge, float]]:
        """Cell type -> chosen operation -> its cost; operations are known by their names without copies."""
        return {
            name: {
                Edge(original(cell.operations[column]), *ends): row[column]
                for ends, columns, row in zip(cell.edges, cell.allowed, self.by_type[name].tolist(), strict=True)
                for column in columns
            }
            for name, cell in self._cells.items()
        }


def derived_costs(space: SearchSpace, spec: Spec, network: RetrainNetwork, measure: str) -> NetworkCosts:
    """What genotypes of a space cost in a retraining network, without its auxiliary head.

    Args:
        space: What is searched.
        spec: Images and labels.
        network: What is built of a genotype.
        measure: `parameters`, `multiply_adds`, `operations`, `memory_access`, or the path of a table of latencies
            (`.json`), which `lit-nas profile --out` has measured.

    Returns:
        The costs, float64 on the CPU.

    Raises:
        FileNotFoundError: if there is no such table.
        ValueError: if the measure is unknown, a latency is missing, or the network does not say which part of it
            belongs to which edge.
    """
    check_measure(measure, "The measure of a cost")
    images = _images(spec)
    if measure.endswith(".json"):
        found = load_latencies(measure)
        return _of_latencies(space, derived_pieces(space, images, network, real=False), found, f"The table '{measure}'")

    def count(genotype: Genotype) -> float:
        with torch.device("meta"):
            return float(sum(count_layers(network.build(genotype, images).eval(), images, measure).values()))

    tables, fixed = _zeros(space), None
    for operation, genotype in _by_operation(space):
        with torch.device("meta"):
            built = network.build(genotype, images).eval()
        layers = count_layers(built, images, measure)
        placed = 0.0
        for name, (kind, edge) in edge_modules(built, space, genotype).items():
            cost = sum(value for layer, value in layers.items() if f"{layer}.".startswith(f"{name}."))
            placed += cost
            _add(tables, space, kind, edge, operation, cost)
        fixed = sum(layers.values()) - placed
    assert fixed is not None  # a space has operations
    return NetworkCosts(space, fixed, tables, count)


def derived_pieces(space: SearchSpace, spec: Spec, network: RetrainNetwork, real: bool = True) -> list[Piece]:
    """The parts of the networks that genotypes of a space stand for, to be measured one by one.

    A candidate without a path (`none`) is none of them: it takes no time. No random number of a run is used up.

    Args:
        space: What is searched.
        spec: Images and labels.
        network: What is built of a genotype.
        real: Whether the parts can run; otherwise they have shapes alone.

    Raises:
        ValueError: if the network does not say which part of it belongs to which edge.
    """
    images, pieces = _images(spec), list[Piece]()
    types = list(space.cells)
    for number, (operation, genotype) in enumerate(_by_operation(space)):
        with torch.random.fork_rng(devices=[]), torch.device("cpu" if real else "meta"):
            built = network.build(genotype, images).eval()
        places = edge_modules(built, space, genotype)
        for name, module, inputs, output in parts_of(built, "", places, shapes_of(built, images)):
            sizes = sizes_of(inputs, output)
            if name not in places:
                if number == 0:
                    pieces.append(Piece(f"{name} {sizes}", module, inputs))
                continue
            kind, edge = places[name]
            cell = space.cells[kind]
            for column in _columns(cell, edge, operation):
                pieces.append(
                    Piece(f"{original(operation)} {sizes}", module, inputs, (types.index(kind), edge, column))
                )
    return pieces


def edge_modules(network: nn.Module, space: SearchSpace, genotype: Genotype) -> dict[str, tuple[str, int]]:
    """Which part of the network of a genotype belongs to which edge.

    Args:
        network: As `RetrainNetwork.build` makes it, with `cells` and `types`.
        space: What is searched.
        genotype: Whose network it is.

    Returns:
        Name of a module -> cell type and number of the edge. A cell of one edge is that edge as a whole.

    Raises:
        ValueError: if cells of several edges do not say it.
    """
    found: dict[str, tuple[str, int]] = {}
    cells = getattr(network, "cells", None)
    if not isinstance(cells, nn.ModuleList) or len(getattr(network, "types", ())) != len(cells):
        raise ValueError(
            f"{type(network).__name__} has no `cells` with their `types`, so that no choice has a cost of its own: "
            "give it both, as `RetrainNetwork.build` says, or take the costs of the search network (network: search)."
        )
    for number, (kind, cell) in enumerate(zip(network.types, cells, strict=True)):  # type: ignore[arg-type]
        if kind not in genotype.cells:
            continue
        edges, own, parts = space.cells[kind].edges, getattr(cell, "genotype", None), getattr(cell, "operations", None)
        if isinstance(own, CellGenotype) and isinstance(parts, nn.ModuleList) and len(parts) == len(own.edges):
            for place, edge in enumerate(own.edges):
                found[f"cells.{number}.operations.{place}"] = kind, edges.index((edge.source, edge.target))
        elif len(edges) == 1:
            found[f"cells.{number}"] = kind, 0
        else:
            raise ValueError(
                f"{type(cell).__name__} does not say which of its parts is which edge, so that no choice has a cost of "
                "its own: let it have its `genotype` and, in the same order, its `operations` (an nn.ModuleList), or "
                "take the costs of the search network (network: search)."
            )
    return found


def _one_operation(space: SearchSpace, operation: str) -> Genotype:
    """All edges of all cells with one operation, or with another of their candidates where they do not have it.

    Args:
        space: What is searched.
        operation: Name of a candidate.
    """
    cells = {}
    for name, cell in space.cells.items():
        edges, reached = [], set(range(cell.num_inputs))
        for number, (source, target) in enumerate(cell.edges):
            if source in reached and (names := _choosable(cell, number)):
                edges.append(Edge(original(_chosen(names, operation)), source, target))
                reached.add(target)
        concat = tuple(node for node in cell.concat if node in reached)
        cells[name] = CellGenotype(tuple(edges), concat, cell.num_inputs)
    return Genotype(cells, space.name)


def _by_operation(space: SearchSpace) -> Iterator[tuple[str, Genotype]]:
    """Each operation that makes a module, with the genotype that has it everywhere."""
    names = dict.fromkeys(name for cell in space.cells.values() for name in cell.operations)
    for name in names:
        if name != "none":
            yield name, _one_operation(space, name)


def _choosable(cell: CellSpace, edge: int) -> tuple[str, ...]:
    """What a genotype may hold on an edge: `none` only where it keeps it."""
    return tuple(name for name in cell.names(edge) if name != "none" or cell.keeps_none)


def _chosen(names: tuple[str, ...], operation: str) -> str:
    return operation if operation in names else next((name for name in names if name != "none"), names[0])


def _columns(cell: CellSpace, edge: int, operation: str) -> list[int]:
    """The columns of an operation on an edge; none where the edge does not have it."""
    return [column for column in cell.allowed[edge] if cell.operations[column] == operation]


def _zeros(space: SearchSpace) -> dict[str, Tensor]:
    return {
        name: torch.zeros(len(cell.edges), len(cell.operations), dtype=torch.float64)
        for name, cell in space.cells.items()
    }


def _add(tables: Mapping[str, Tensor], space: SearchSpace, kind: str, edge: int, operation: str, cost: float) -> None:
    for column in _columns(space.cells[kind], edge, operation):
        tables[kind][edge, column] += cost


def _of_latencies(space: SearchSpace, pieces: list[Piece], table: LatencyTable, where: str) -> NetworkCosts:
    tables, fixed, types = _zeros(space), 0.0, list(space.cells)
    table.check(pieces, where, "`lit-nas profile -c CONFIG --out FILE`")
    for piece in pieces:
        if piece.place is None:
            fixed += table.latencies[piece.key]
        else:
            number, edge, column = piece.place
            tables[types[number]][edge, column] += table.latencies[piece.key]
    return NetworkCosts(space, fixed, tables)


def latency_costs(space: SearchSpace, spec: Spec, network: RetrainNetwork, table: LatencyTable) -> NetworkCosts:
    """What genotypes take by a table of latencies that has been measured.

    Args:
        space: What is searched.
        spec: Images and labels.
        network: What is built of a genotype.
        table: Latencies of `derived_pieces`.
    """
    return _of_latencies(space, derived_pieces(space, spec, network, real=False), table, "The table")


def _images(spec: Spec) -> ImageSpec:
    if not isinstance(spec, ImageSpec):
        raise ValueError(f"Retraining networks are built for images, but this search reads {spec.samples}.")
    return spec
