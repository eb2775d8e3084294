"""The correlation of candidates: their outputs in a search network as it stands, over many images.

Paper: Li et al., "Hierarchical Neural Architecture Search via Operator Clustering" (StacNAS),
https://arxiv.org/abs/1909.11926, section 1 and appendix A; code susan0199/StacNAS, `feature.py`, which keeps all maps
in files, where here each batch is forgotten. Outputs are taken before they are multiplied by their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.correlation.correlations import Correlations, EdgeCorrelation
from lit_nas.correlation.feature_moments import Definition, FeatureMoments
from lit_nas.networks.candidate_costs import searched_cells
from lit_nas.operations import check_operations, original
from lit_nas.spaces import CellSpace

__all__ = ("OperatorCorrelation",)


@dataclass(frozen=True)
class OperatorCorrelation:
    """What is correlated, and how.

    Without `none`, and without further copies of an operation, whose outputs are the same. The paper's text leaves out
    `skip_connect` as well (`exclude: [skip_connect]`), but its figure and its groups have it.

    Raises:
        ValueError: if a value is unknown.
    """

    edges: Literal["ends", "all"] = "ends"
    """Edges of each cell: the one from input 0 to the first node and the one from there to the last node, as in the
    authors' code, or all, as the paper says."""
    definition: Definition = "features"
    """What is centred: each feature over the images, or the flattened maps as a whole, see `Definition`."""
    exclude: tuple[str, ...] = ()
    """Operations that are left out; they become groups of their own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))  # lists come from YAML
        if self.edges not in ("ends", "all"):
            raise ValueError(f"correlation.edges must be ends or all, not {self.edges!r}.")
        if self.definition not in get_args(Definition):
            raise ValueError(
                f"correlation.definition must be {' or '.join(get_args(Definition))}, not {self.definition!r}."
            )
        check_operations(self.exclude, "correlation.exclude")

    def check(self, network: nn.Module, architecture: Architecture) -> tuple[str, ...]:
        """Refuses a network whose candidates cannot be correlated.

        Args:
            network: A search network.
            architecture: Its architecture.

        Returns:
            The operations that are correlated, in the order of the space.

        Raises:
            ValueError: saying why.
        """
        if unknown := [name for name in self.exclude if name not in _in_order(architecture)]:
            raise ValueError(
                f"correlation.exclude names {', '.join(unknown)}, which the space '{architecture.space.name}' does not "
                f"have: {', '.join(_in_order(architecture))}."
            )
        together = {frozenset((a, b)) for each in self._watched(network, architecture) for a, b in each.pairs()}
        if not together:
            raise ValueError(
                f"No edge of {type(network).__name__} that is looked at mixes two operations that could be "
                "correlated: there is nothing to group."
            )
        names = _in_order(
            architecture, {name for cell in architecture.cells for name in self._left(architecture, cell)}
        )
        if apart := [pair for pair in combinations(names, 2) if frozenset(pair) not in together]:
            raise ValueError(
                f"No edge that is looked at has both {' and '.join(apart[0])}, so that they have no correlation: "
                f"{'set correlation.edges to all, or ' if self.edges == 'ends' else ''}leave one of them out "
                "(correlation.exclude)."
            )
        return names

    def alone(self, architecture: Architecture) -> tuple[str, ...]:
        """The operations that were left out.

        Args:
            architecture: Of the search.
        """
        return tuple(name for name in _in_order(architecture) if name in self.exclude and name != "none")

    def measure(
        self, network: nn.Module, architecture: Architecture, batches: Iterable[Tensor], images: int
    ) -> Correlations:
        """Runs the network over images, in evaluation mode, mixed by the probabilities of its architecture.

        Modes and parameters of the network are as before afterwards, and no random number is used up.

        Args:
            network: The search network; maps images and a mixture to logits.
            architecture: Its architecture.
            batches: Inputs of the network, each [B, ...], on its device.
            images: How many samples to take.

        Raises:
            ValueError: if there are fewer, or candidates cannot be correlated.
        """
        names, seen = self.check(network, architecture), 0
        watched = list(self._watched(network, architecture))
        kind = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        with _evaluating(network, architecture), ExitStack() as hooks, torch.no_grad():
            for each in watched:
                each.listen(hooks)
            mixture = architecture.mix(architecture.relaxation)
            for batch in batches:
                batch = batch[: images - seen]
                network(batch.to(kind) if batch.is_floating_point() else batch, mixture)
                seen += len(batch)
                if seen == images:
                    break
        if seen < images:
            raise ValueError(f"Correlations over {images} images were asked for, but there are only {seen}.")
        found = tuple(each.found(self.definition, images) for each in watched)
        return Correlations(found, names, images, self.definition)

    def _watched(self, network: nn.Module, architecture: Architecture) -> Iterator[_WatchedEdge]:
        for number, (path, cell) in enumerate(searched_cells(network)):
            for edge in self._chosen(cell):
                names = self._names(cell, architecture.active(cell.name)[edge])
                if len(names) > 1:
                    source, target = cell.edges[edge]
                    place = f"the edge {source} -> {target} of cell {number} ({cell.name})"
                    modules = _candidates(network.get_submodule(f"{path}.edges.{edge}"), names, place)
                    yield _WatchedEdge(number, cell.name, (source, target), modules)

    def _left(self, architecture: Architecture, cell: str) -> set[str]:
        """All operations of a cell type that are to be grouped, on whatever edge."""
        found = (self._names(architecture.cells[cell], columns) for columns in architecture.active(cell))
        return {name for names in found for name in names}

    def _names(self, cell: CellSpace, columns: Iterable[int]) -> tuple[str, ...]:
        names = (cell.operations[column] for column in columns)
        return tuple(name for name in names if name not in ("none", *self.exclude) and original(name) == name)

    def _chosen(self, cell: CellSpace) -> list[int]:
        if self.edges == "all":
            return list(range(len(cell.edges)))
        first, last = cell.targets[0], cell.targets[-1]
        return [number for number, edge in enumerate(cell.edges) if edge in ((0, first), (first, last))]


@dataclass(eq=False)
class _WatchedEdge:
    """An edge whose candidates say what they compute."""

    cell: int
    type: str
    edge: tuple[int, int]
    candidates: dict[str, nn.Module]
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """Of the present batch, as far as they were computed."""

    def __post_init__(self) -> None:
        self.moments = FeatureMoments(len(self.candidates))

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(self.candidates)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each two of the operations."""
        return combinations(self.candidates, 2)

    def listen(self, hooks: ExitStack) -> None:
        """Adds hooks to the candidates; engines run candidates that have some as modules of their own."""

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            return lambda module, inputs, output: self._take(name, output)

        for name, module in self.candidates.items():
            hooks.callback(module.register_forward_hook(keep(name)).remove)

    def _take(self, name: str, output: Tensor) -> None:
        self.outputs[name] = output
        if len(self.outputs) == len(self.candidates):  # the maps of an edge are kept until all are there
            self.moments.update([self.outputs[each] for each in self.candidates])
            self.outputs.clear()

    def found(self, definition: Definition, images: int) -> EdgeCorrelation:
        """The correlations over all batches."""
        source, target = self.edge
        if self.moments.samples != images:
            raise ValueError(
                f"The edge {source} -> {target} of cell {self.cell} ({self.type}) did not compute each of its "
                "candidates once for each image, so that they cannot be correlated."
            )
        matrix, constant = self.moments.correlation(definition)
        names = tuple(name for name, flat in zip(self.operations, constant.tolist(), strict=True) if flat)
        rows = tuple(map(tuple, matrix.tolist()))
        return EdgeCorrelation(self.cell, self.type, source, target, self.operations, rows, names)


def _candidates(edge: nn.Module, names: tuple[str, ...], place: str) -> dict[str, nn.Module]:
    operations = getattr(edge, "operations", None)
    if not isinstance(operations, nn.ModuleDict) or set(names) - set(operations):
        raise ValueError(
            f"Candidates of {place} share a kernel, so that they have no outputs of their own to correlate: search "
            "with edges that hold their candidates one by one (model.edges)."
        )
    return {name: operations[name] for name in names}


def _in_order(architecture: Architecture, among: set[str] | None = None) -> tuple[str, ...]:
    """Names of operations, in the order of the cells of the space."""
    names = dict.fromkeys(name for cell in architecture.cells.values() for name in cell.operations)
    return tuple(name for name in names if among is None or name in among)


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    """Puts modules in evaluation mode, and each part back into its own mode."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode
