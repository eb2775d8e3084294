"""Weight steps at disturbed mixing weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lit_nas.architecture import Architecture, CellMixture, Mixture
from lit_nas.batches import Batch
from lit_nas.optim import accumulate, frozen, frozen_statistics, running_statistics
from lit_nas.perturbation import Attack, CellWeights, Statistics, uniform
from lit_nas.relaxations.draw import mask_of
from lit_nas.search.gradients import Loss

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("PerturbedWeights",)


class PerturbedWeights:
    """Lets the weights be trained at other mixing weights than those of the architecture.

    Args:
        module: Whose settings, architecture and losses they are.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module
        self._static: list[Tensor] = []  # a captured graph reads the same memory in each step

    @contextmanager
    def during(self, loss: Loss, batch: Batch) -> Iterator[None]:
        """Disturbs the mixture of the architecture, if the settings say so.

        Args:
            loss: Mean loss of a batch.
            batch: The batch of the weight step.
        """
        if (part := self._module.optim.perturbation) is None:
            yield
            return
        architecture = self._module.architecture
        with torch.no_grad():
            cells = _cells(architecture)
            factors = [_edge_weights(architecture, *each) for each in cells]
            given = [_given(architecture, *each) for each in enumerate(zip(cells, factors, strict=True))]
            now, like = part.epsilon(architecture.clock), given[0].weights
            epsilon = now.to(like.dtype) if isinstance(now, Tensor) else torch.full_like(like[0, 0], now)
            found = part(given, epsilon, _Attack(self._module, factors, loss, batch))
            found = _times(found, factors)
            same = [(each.shape, each.dtype, each.device) for each in self._static]
            if same != [(each.shape, each.dtype, each.device) for each in found]:
                self._static = [each.clone() for each in found]
            torch._foreach_copy_(self._static, found)
        with architecture.changed(_replacing(self._static)):
            yield


class _Attack(Attack):
    """Asks the network, whose weights and running statistics stay as they are.

    Args:
        module: The search.
        factors: See `_edge_weights`.
        loss: Mean loss of a batch.
        batch: The batch.
    """

    def __init__(self, module: SearchParts, factors: Sequence[Tensor | None], loss: Loss, batch: Batch) -> None:
        self._module, self._factors, self._loss, self._batch = module, factors, loss, batch
        self._scale = module.gradients.scale().value

    def loss(self, weights: Sequence[Tensor], statistics: Statistics) -> Tensor:
        """See `Attack`."""
        with self._still(weights, statistics), torch.no_grad():
            terms = list(self._terms(1.0))
        return self._module.gradients.mean_over_ranks([sum(terms[1:], terms[0])])[0]

    def gradient(self, weights: Sequence[Tensor], statistics: Statistics) -> list[Tensor]:
        """See `Attack`."""
        leaves = [each.detach().requires_grad_() for each in weights]
        with torch.enable_grad(), self._still(leaves, statistics):
            found, _ = accumulate(self._terms(self._scale), leaves)
        return self._module.gradients.mean_over_ranks(found)

    @contextmanager
    def _still(self, weights: Sequence[Tensor], statistics: Statistics) -> Iterator[None]:
        held = running_statistics if statistics == "running" else frozen_statistics
        change = _replacing(_times(weights, self._factors))
        with frozen(self._module.weights), held(self._module.norms), self._module.architecture.changed(change):
            yield

    def _terms(self, scale: float) -> Iterator[Tensor]:
        for part, share in self._module.gradients.parts(self._batch):
            yield share * scale * self._loss(part)


def _cells(architecture: Architecture) -> list[tuple[str, CellMixture]]:
    """Cell type and mixture of each cell that has one of its own; others share it."""
    positions = zip(architecture.space.layout, architecture(), strict=True)
    return list({id(cell): (position.cell, cell) for position, cell in positions}.values())


def _replacing(weights: Sequence[Tensor]) -> Callable[[Mixture], Mixture]:
    """What puts other weights into a mixture, in the order of `_cells`."""

    def replaced(mixture: Mixture) -> Mixture:
        own = list({id(cell): cell for cell in mixture}.values())
        new = {id(cell): replace(cell, weights=each) for cell, each in zip(own, weights, strict=True)}
        return tuple(new[id(cell)] for cell in mixture)

    return replaced


def _executed(architecture: Architecture, name: str, cell: CellMixture) -> Tensor:
    """Which candidates are executed, bool [E, O]; waits for nothing unless the architecture samples."""
    if not architecture.samples:
        return architecture.mask(name)
    return mask_of(cell.active, cell.weights.shape[-1]).to(cell.weights.device)


def _edge_weights(architecture: Architecture, name: str, cell: CellMixture) -> Tensor | None:
    """[E, 1]: what the mixing weights contain of the weights of edges, which are not disturbed; None if nothing."""
    if architecture.edge_relaxation is None or not architecture.relaxation.competes:
        return None
    executed = _executed(architecture, name, cell)  # what others have as weights means nothing
    return cell.weights.detach().masked_fill(~executed, 0.0).sum(-1, keepdim=True)


def _given(architecture: Architecture, index: int, each: tuple[tuple[str, CellMixture], Tensor | None]) -> CellWeights:
    (name, cell), factor = each
    weights = cell.weights.detach()
    if factor is not None:
        weights = weights / factor.masked_fill(factor == 0, 1.0)
    noise = uniform(architecture.seed, architecture.clock.step, index, tuple(weights.shape), weights.dtype)
    return CellWeights(weights, _executed(architecture, name, cell), noise, architecture.relaxation.competes)


def _times(weights: Sequence[Tensor], factors: Sequence[Tensor | None]) -> list[Tensor]:
    return [each if factor is None else each * factor for each, factor in zip(weights, factors, strict=True)]
