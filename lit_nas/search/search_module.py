"""The verbs of a search: how its two levels, weights and architecture, are updated."""

from abc import ABC
from collections.abc import Iterable
from typing import Literal

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from lit_nas.batches import Batch, by_role
from lit_nas.optim import clip_gradients, frozen, frozen_statistics, unrolled_gradient
from lit_nas.relaxations import Updates
from lit_nas.search.gradients import Loss
from lit_nas.search.lifecycle import SearchLifecycle
from lit_nas.search.loss_scale import LossScale
from lit_nas.search.search_batch import SearchBatch

__all__ = ("Loss", "SearchBatch", "SearchModule")


class SearchModule(SearchLifecycle, ABC):
    """Verbs of a search; the algorithm is the final class's `training_step`.

    A final class assigns `network`, `architecture`, `optim`, `spec` and, if it has one, `deriver` in its constructor.
    The verbs take a loss as a function, because they freeze the other level before the forward pass, and cut the batch
    into `optim.accumulate` parts. What a batch is they do not know: it is what the data yield for a role, and the base
    class of a kind of data (`ImageSearchModule`) says how it is cut and counted.
    """

    def step_weights(self, loss: Loss, batch: Batch) -> Tensor:
        """One step of the weights; the architecture stays bit-equal.

        Args:
            loss: Mean loss of a batch; evaluated with the architecture frozen.
            batch: The batch.

        Returns:
            The loss, detached.
        """
        optimizer = self._optimizers[0]
        optimizer.zero_grad()
        drawn = self.architecture.drawing("weights")
        with frozen(self.architecture.parameters()), drawn, self.perturbed.during(loss, batch):
            value = self.gradients.put("weights", loss, batch, self.weights)
        value = self.note_loss("weights", value, batch)
        self._update_weights(optimizer)
        return value

    def step_levels(self, loss: Loss, batch: SearchBatch, weights_first: bool = False) -> None:
        """One step of both levels by the first order, on the data and in the way that `optim.level` says.

        Args:
            loss: Mean loss of a batch.
            batch: The batch of each role; a bare batch is that of the weights.
            weights_first: Whether the weights are updated before the architecture, where each has a step of its own.
        """
        parts = by_role(batch)
        if self.optim.level == "single":
            self.step_both(loss, parts["weights"])
            return
        if weights_first:
            self.step_weights(loss, parts["weights"])
        self.step_arch(loss, parts["arch" if self.optim.level == "bilevel" else "weights"])
        if not weights_first:
            self.step_weights(loss, parts["weights"])

    def step_both(self, loss: Loss, batch: Batch) -> Tensor:
        """One step of both levels along the gradient of one loss at the same point (single-level optimisation).

        Before epoch `optim.arch_from_epoch` only the weights are updated.

        Args:
            loss: Mean loss of a batch.
            batch: The batch.

        Returns:
            The loss, detached.
        """
        if not self.arch_moves:
            return self.step_weights(loss, batch)
        optimizer, logits = self._optimizers[0], list(self.architecture.parameters())
        optimizer.zero_grad()
        scale = self.gradients.scale()
        with self.architecture.drawing("both"):  # regularisers see the draw, too
            value = self.gradients.put("both", loss, batch, [*self.weights, *logits])
            gradient = [torch.zeros_like(p) if p.grad is None else p.grad for p in logits]
            for parameter in logits:  # nothing of this step may reach the next one, least of all an overflow
                parameter.grad = None
            value = self.note_loss("weights", value, batch)
            unscaled = scale.unscale(self.gradients.mean_over_ranks(gradient))
            self._update_weights(optimizer)
            self._apply_or_lower(unscaled, scale, value)
        return value

    def step_arch(self, loss: Loss, batch: Batch) -> Tensor | None:
        """One step of the architecture; weights and running statistics stay bit-equal.

        Args:
            loss: Mean loss of a batch; evaluated with the weights frozen.
            batch: The batch.

        Returns:
            The loss, detached, or None before epoch `optim.arch_from_epoch`.
        """
        if not self.arch_moves:
            return None
        scale, logits = self.gradients.scale(), list(self.architecture.parameters())
        with self.architecture.drawing("arch"):  # regularisers see the draw, too
            with frozen(self.weights), frozen_statistics(self.norms):
                gradient, value = self.gradients.take("arch", loss, batch, logits, scale)
            value = value / scale.value
            self._apply_or_lower(scale.unscale(self.gradients.mean_over_ranks(gradient)), scale, value)
        return self.note_loss("arch", value, batch)

    def step_arch_unrolled(
        self,
        loss: Loss,
        validation: Batch,
        training: Batch,
        product: Literal["finite_difference", "exact"],
        clip: float = 0.0,
    ) -> Tensor | None:
        """One step of the architecture along the second-order gradient; weights and statistics stay bit-equal.

        Args:
            loss: Mean loss of a batch.
            validation: The architecture's batch.
            training: The weights' batch.
            product: How the Hessian-vector product is computed, see `unrolled_gradient`.
            clip: Largest norm of the gradients in it, see there; 0 does not clip.

        Returns:
            The validation loss after the virtual step, detached, or None before epoch `optim.arch_from_epoch`.
        """
        if not self.arch_moves:
            return None
        # differences of losses need float32, whatever the precision of the run
        no_cast = torch.autocast(self.device.type, enabled=False)
        with self.architecture.drawing("arch"):  # regularisers see the draw, too
            with no_cast, frozen_statistics(self.norms):
                gradient, value = unrolled_gradient(
                    lambda: (share * loss(part) for part, share in self.gradients.parts(validation)),
                    lambda: (share * loss(part) for part, share in self.gradients.parts(training)),
                    self.weights,
                    list(self.architecture.parameters()),
                    self._optimizers[0].optimizer,
                    product,
                    reduce=self.gradients.mean_over_ranks,
                    clip=clip,
                )
            self.apply_arch_gradient(gradient, reduced=True, loss=value)
        return self.note_loss("arch", value, validation)

    def step_samples(self, loss: Loss, batch: Batch, shares: Tensor, updates: Updates = "weights") -> Tensor:
        """One step of the weights along the gradient of several samples of the architecture, which stays bit-equal.

        Args:
            loss: Mean loss of a batch; evaluated with the architecture frozen, for one sample after the other.
            batch: The batch.
            shares: [K], how much each sample counts; one of share 0 is not computed.
            updates: What the step updates that draws them, where it is another one.

        Returns:
            The sum of share times loss, detached.
        """
        optimizer = self._optimizers[0]
        optimizer.zero_grad()
        with frozen(self.architecture.parameters()):
            value = self.samples.put(updates, loss, batch, shares)
        value = self.note_loss("weights", value, batch)
        self._update_weights(optimizer)
        return value

    def step_prior(self, gradient: list[Tensor], loss: Tensor, batch: Batch) -> Tensor:
        """One step of the architecture along a gradient that needs no backward pass through the network.

        Args:
            gradient: One tensor per parameter of the architecture, in its order; the mean over processes.
            loss: Of the samples, on all processes.
            batch: On which it was computed.

        Returns:
            The loss, detached.
        """
        self.apply_arch_gradient(gradient, reduced=True, loss=loss)
        return self.note_loss("arch", loss, batch)

    def apply_arch_gradient(
        self, gradient: Iterable[Tensor], reduced: bool = False, loss: Tensor | None = None
    ) -> None:
        """Updates the architecture along the gradient that a method computed itself, with that of the regularisers.

        Within `architecture.drawing` the relaxation may say which part is updated (see `Relaxation.expected`).

        Args:
            gradient: One tensor per parameter of the architecture, in its order.
            reduced: Whether it is the mean over processes already.
            loss: Of what it is the gradient, on this process; regularisers that multiply a loss need it.
        """
        gradient = list(gradient) if reduced else self.gradients.mean_over_ranks(list(gradient))
        gradient, values = self.regularisation.add(gradient, loss)
        self.loss_log.terms(values)
        with self.architecture.settling():
            if (decay := self.optim.decay) is None:
                self._update_arch(gradient)
                return
            parameters, executed = list(self.architecture.parameters()), self.architecture.executed()
            if decay.own_step:
                self._update_arch(gradient)
                self._update_arch(decay.of_architecture(parameters, executed))
            else:
                own = decay.of_architecture(parameters, executed)
                self._update_arch([each + of for each, of in zip(gradient, own, strict=True)])

    def _update_weights(self, optimizer: LightningOptimizer) -> None:
        """Steps the weights along their gradients, and along those of a decay that has a step of its own."""
        if (decay := self.optim.decay) is None or not decay.own_step:
            optimizer.step()
            return
        scale = self.gradients.scale().value
        optimizer.step()
        if self.gradients.scale().value >= scale:  # after an overflow there was no step
            decay.replace(self.weights)
            self.clip_weights()
            optimizer.optimizer.step()  # the raw one, so that `global_step` counts batches

    def _update_arch(self, gradient: Iterable[Tensor]) -> None:
        # the raw optimiser, so that `global_step` counts steps of the weights only
        optimizer = self._optimizers[1].optimizer
        for parameter, value in zip(self.architecture.parameters(), gradient, strict=True):
            parameter.grad = value
        clip_gradients(self.architecture.parameters(), self.optim.arch_clip, self.optim.clip_by)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _apply_or_lower(self, gradient: list[Tensor] | None, scale: LossScale, loss: Tensor) -> None:
        """Updates the architecture, or lowers the scale if its gradient has overflowed, as it does in a long run."""
        if gradient is None:
            scale.lower(self.device)
        else:
            self.apply_arch_gradient(gradient, reduced=True, loss=loss)
