"""Several networks of a step, one after the other, so that only one of them is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lit_nas.batches import Batch
from lit_nas.optim import frozen_statistics
from lit_nas.relaxations import Updates
from lit_nas.search.gradients import Loss

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("Samples",)


class Samples:
    """What is computed of the samples of a step; sample k is the same network in each call with the same `updates`.

    All numbers are those of the batches of all processes, which draw the same networks.

    Args:
        module: Whose architecture, losses and settings they are.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module

    def means(self, updates: Updates, value: Loss, batch: Batch, count: int) -> Tensor:
        """A mean over a batch, the loss for example, of each sample, [K]; without a backward pass, and statistics stay.

        Args:
            updates: What this step updates.
            value: Mean over a batch.
            batch: The same for all samples, which are compared by it.
            count: K.
        """
        module, values = self._module, []
        with torch.no_grad(), frozen_statistics(module.norms):
            for _ in self._each(updates, count):
                terms = [share * value(part) for part, share in module.gradients.parts(batch)]
                values.append(sum(terms[1:], terms[0]))
        return module.gradients.mean_over_ranks([torch.stack(values)])[0]

    def costs(self, updates: Updates, measure: str, count: int) -> Tensor:
        """What each sample costs, [K], with what is not searched.

        Args:
            updates: What this step updates.
            measure: Of what.
            count: K.
        """
        architecture, table, values = self._module.architecture, self._module.regularisation.table(measure), []
        with torch.no_grad():
            for _ in self._each(updates, count):
                cells = zip(architecture(), table.costs, strict=True)
                terms = [(cell.weights.to(cost.dtype) * cost).sum() for cell, cost in cells]
                values.append(table.fixed + sum(terms[1:], terms[0]))
        return torch.stack(values)

    def score(self, updates: Updates, shares: Tensor) -> list[Tensor]:
        """The gradient of minus the sum of share times log p(sample), by the parameters of the architecture.

        Args:
            updates: What this step updates.
            shares: [K], without a gradient.
        """
        architecture, terms = self._module.architecture, []
        with torch.enable_grad(), torch.autocast(self._module.device.type, enabled=False):
            for sample in self._each(updates, len(shares)):
                for density in {id(each): each for each in architecture.log_densities()}.values():
                    terms.append(shares[sample].to(density.dtype) * density.sum())
            total = -sum(terms[1:], terms[0])
            parameters = list(architecture.parameters())
            return list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))

    def put(self, updates: Updates, loss: Loss, batch: Batch, shares: Tensor) -> Tensor:
        """Puts the gradient of the sum of share times loss where the optimiser of the weights looks.

        Args:
            updates: What this step updates.
            loss: Mean loss of a batch.
            batch: The batch.
            shares: [K]; a sample of share 0 is not computed.

        Returns:
            That sum, detached, of this process.
        """
        module, terms, numbers = self._module, [], shares.tolist()
        for sample in self._each(updates, len(numbers)):
            if not numbers[sample]:
                continue
            for part, size in module.gradients.parts(batch):
                # what one sample leaves out another one uses, which DDP does not expect
                with module.gradients.without_synchronisation():
                    value = numbers[sample] * size * loss(part)
                    module.manual_backward(value)
                terms.append(value.detach())
        module.gradients.average([weight for weight in module.weights if weight.grad is not None])
        return sum(terms[1:], terms[0])

    def _each(self, updates: Updates, count: int) -> Iterator[int]:
        """Numbers of the samples, each within its draw."""
        for sample in range(count):
            with self._module.architecture.drawing(updates, sample):
                yield sample
