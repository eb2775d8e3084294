"""The verbs of a search: how both levels step, what is logged, what is derived."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_nas.architecture import Architecture
from lit_nas.batches import Batch, by_role, check_roles
from lit_nas.derivation import Deriver, EmptyCellError, default_deriver
from lit_nas.genotype import Genotype
from lit_nas.internals import (
    BatchNormKind,
    data_of,
    expect_unused_parameters,
    is_attached,
    keep_out_of_ddp,
    log_interval,
)
from lit_nas.optim import (
    check_unrollable,
    fit_to_run,
    frozen,
    frozen_statistics,
    make_part,
    unrolled_gradient,
)
from lit_nas.record.names import import_class
from lit_nas.record.plain import build, commit, plain
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.relaxations import Level
from lit_nas.search.gradients import Gradients, Loss
from lit_nas.search.health import Health
from lit_nas.search.loss_scale import LossScale
from lit_nas.search.means import Means
from lit_nas.search.perturbed_weights import PerturbedWeights
from lit_nas.search.regularisation import Regularisation
from lit_nas.search.samples import Samples
from lit_nas.search.search_optim import SearchOptim
from lit_nas.search.trainer_checks import check_graphs, check_run, check_trainer

__all__ = ("Loss", "SearchBatch", "SearchModule")


class SearchBatch(TypedDict, total=False):
    """A batch of each role of the split."""

    weights: Batch
    """Moves the weights."""
    arch: Batch
    """Moves the architecture; bilevel methods only."""


class SearchModule(RecordedModule, ABC):
    """Verbs of a search; the algorithm is the final class's `training_step`.

    A final class assigns `network`, `architecture`, `optim`, `spec` and, if it has one, `deriver` in its constructor.
    The verbs take a loss as a function, because they freeze the other level before the forward pass, and cut the batch
    into `optim.accumulate` parts. What a batch is they do not know: it is what the data yield for a role, and the base
    class of a kind of data (`ImageSearchModule`) says how it is cut and counted.
    """

    network: nn.Module
    architecture: Architecture
    deriver: Deriver | None = None
    """How the architecture is made discrete; None is the rule of the space."""
    optim: SearchOptim
    order: int = 1
    """Order of the architecture gradient; 2 restricts the optimiser of the weights."""
    leaves_weights_unused: bool = False
    """Whether a step may leave weights without a gradient, those of pruned candidates for example; not needed for those
    that a relaxation does not draw."""

    def __init__(self) -> None:
        super().__init__()
        space = self.hparams.get("space")
        if isinstance(space, dict) and isinstance((space.get("init_args") or {}).get("candidates"), str):
            # the file may be gone when the checkpoint is read
            self.hparams["space"] = plain(build(import_class(space["class_path"]), space["init_args"]))
        self.automatic_optimization = False
        # their states are in the checkpoint, so that the mean of an epoch survives an interruption within it
        self.losses = Means(("weights", "arch"))
        for level in self.losses:
            self.losses[level].persistent(True)
        self._batch = self._step = 0
        self._terms: dict[str, Tensor | float] = {}
        self._health = Health()
        self._told_of_empty_cell = False
        self.gradients, self.samples = Gradients(self), Samples(self)
        self.regularisation, self.perturbed = Regularisation(self), PerturbedWeights(self)

    @abstractmethod
    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """One iteration of the paper's algorithm."""

    @abstractmethod
    def cut(self, batch: Batch, parts: int) -> Sequence[Batch]:
        """Cuts the batch of a role, so that the parts can follow each other in memory.

        Args:
            batch: As the data yield it for a role; each sample must come to be in exactly one part.
            parts: How many parts to make; fewer where there is not enough to cut.
        """

    @abstractmethod
    def size(self, batch: Batch) -> int:
        """How many samples a batch or a part of it has: images, tokens, whatever its loss is the mean over.

        Parts count in the gradient of a batch, and batches in the mean of an epoch, by this number. It must be known
        without waiting for the device.
        """

    @property
    def roles(self) -> frozenset[str]:
        """Parts of the split that the search cannot do without."""
        return frozenset({"weights", "arch"} if self.optim.level == "bilevel" else {"weights"})

    def spans_run(self) -> str:
        """The clock, and with it whatever a method does over the run."""
        return "the clock and the schedules of a search span the run"

    # -- verbs ---------------------------------------------------------------------------------------------------

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
        value = self._log_loss("weights", value, batch)
        optimizer.step()
        return value

    def step_levels(self, loss: Loss, batch: SearchBatch) -> None:
        """One step of both levels by the first order, on the data and in the way that `optim.level` says.

        Args:
            loss: Mean loss of a batch.
            batch: The batch of each role; a bare batch is that of the weights.
        """
        parts = by_role(batch)
        if self.optim.level == "single":
            self.step_both(loss, parts["weights"])
        else:
            self.step_arch(loss, parts["arch" if self.optim.level == "bilevel" else "weights"])
            self.step_weights(loss, parts["weights"])

    def step_both(self, loss: Loss, batch: Batch) -> Tensor:
        """One step of both levels along the gradient of one loss at the same point (single-level optimisation).

        Before epoch `optim.arch_from_epoch` only the weights move.

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
            value = self._log_loss("weights", value, batch)
            unscaled = scale.unscale(self.gradients.mean_over_ranks(gradient))
            optimizer.step()
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
        return self._log_loss("arch", value, batch)

    def step_arch_unrolled(
        self, loss: Loss, validation: Batch, training: Batch, product: Literal["finite_difference", "exact"]
    ) -> Tensor | None:
        """One step of the architecture along the second-order gradient; weights and statistics stay bit-equal.

        Args:
            loss: Mean loss of a batch.
            validation: The architecture's batch.
            training: The weights' batch.
            product: How the Hessian-vector product is computed, see `unrolled_gradient`.

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
                )
            self.apply_arch_gradient(gradient, reduced=True, loss=value)
        return self._log_loss("arch", value, validation)

    def step_samples(self, loss: Loss, batch: Batch, shares: Tensor, level: Level = "weights") -> Tensor:
        """One step of the weights along the gradient of several samples of the architecture, which stays bit-equal.

        Args:
            loss: Mean loss of a batch; evaluated with the architecture frozen, for one sample after the other.
            batch: The batch.
            shares: [K], how much each sample counts; one of share 0 is not computed.
            level: Of the draws, where they are those of another step.

        Returns:
            The sum of share times loss, detached.
        """
        optimizer = self._optimizers[0]
        optimizer.zero_grad()
        with frozen(self.architecture.parameters()):
            value = self.samples.put(level, loss, batch, shares)
        value = self._log_loss("weights", value, batch)
        optimizer.step()
        return value

    def step_prior(self, gradient: list[Tensor], loss: Tensor, batch: Batch) -> Tensor:
        """One step of the architecture along a gradient that needs no backward pass through the network.

        Args:
            gradient: One tensor a parameter of the architecture, in its order; the mean over processes.
            loss: Of the samples, on all processes.
            batch: On which it was computed.

        Returns:
            The loss, detached.
        """
        self.apply_arch_gradient(gradient, reduced=True, loss=loss)
        return self._log_loss("arch", loss, batch)

    def apply_arch_gradient(
        self, gradient: Iterable[Tensor], reduced: bool = False, loss: Tensor | None = None
    ) -> None:
        """Steps the architecture along a gradient that the method computed itself, and along that of the regularisers.

        Args:
            gradient: One tensor a parameter of the architecture, in its order.
            reduced: Whether it is the mean over processes already.
            loss: Of what it is the gradient, on this process; regularisers that multiply a loss need it.
        """
        gradient = list(gradient) if reduced else self.gradients.mean_over_ranks(list(gradient))
        gradient, values = self.regularisation.add(gradient, loss)
        self._terms = {f"arch/{name}": value for name, value in values.items()}
        if values and self._logs:
            self.log_now(self._terms)
        # the raw optimiser, so that `global_step` counts steps of the weights only
        optimizer = self._optimizers[1].optimizer
        for parameter, value in zip(self.architecture.parameters(), gradient, strict=True):
            parameter.grad = value
        if self.optim.arch_clip:
            nn.utils.clip_grad_norm_(list(self.architecture.parameters()), self.optim.arch_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @property
    def arch_moves(self) -> bool:
        """Whether the architecture moves in this epoch."""
        return self.current_epoch >= self.optim.arch_from_epoch

    def log_step(self, values: Mapping[str, Tensor | float]) -> None:
        """Logs values of this step, if it is one of those that are logged."""
        if self._logs:
            self.log_now(dict(values))

    def derive(self) -> Genotype:
        """The discrete cells that the architecture stands for now.

        Raises:
            EmptyCellError: if no operation of a cell is left.
        """
        architecture = self.architecture
        masks = {name: architecture.mask(name).cpu() for name in architecture.space.cells}
        rule = default_deriver(architecture.space) if self.deriver is None else self.deriver
        try:
            genotype = rule(architecture.space, architecture.importance(), masks)
        except EmptyCellError as error:
            advice = (
                "Search again with milder pruning (a smaller threshold or alpha, a later from_epoch, or guard: true): "
                "what has been pruned does not come back."
                if architecture.pruned
                else "Search on, or keep `none` from being chosen (model.deriver.exclude: [none]; or leave it out of "
                "model.space.operations)."
            )
            raise EmptyCellError(f"{error} {advice}") from error
        genotype = genotype.with_meta(method=type(self).__name__, rule=repr(rule))
        if is_attached(self):
            seed, accuracy = os.environ.get("PL_GLOBAL_SEED"), self.trainer.callback_metrics.get("val/accuracy")
            genotype = genotype.with_meta(
                seed=None if seed is None else int(seed),
                epoch=min(self.current_epoch, (self.trainer.max_epochs or 1) - 1),
                commit=commit(),
                validation_accuracy=None if accuracy is None else float(accuracy),
            )
            if (held_out := getattr(data_of(self.trainer), "held_out", None)) is not None:
                # a retraining must not test on what the search trained on
                genotype = genotype.with_meta(held_out=held_out)
        return genotype

    def derive_or_none(self) -> Genotype | None:
        """The discrete cells, or None if no operation of a cell is left, which is said once; a search goes on."""
        try:
            return self.derive()
        except EmptyCellError as error:
            if not self._told_of_empty_cell:
                self._told_of_empty_cell = True
                rank_zero_warn(f"There is no genotype yet. {error} The run goes on without one.")
            return None

    # -- hooks ---------------------------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Any]:
        """Checks the Trainer before Lightning does, which names neither our keys nor the reason.

        Raises:
            ValueError: for keys of the Trainer that alternating steps cannot obey.
        """
        check_trainer(self.trainer, self.optim)
        return []

    def setup(self, stage: str) -> None:
        """Checks the data and keeps the architecture out of the synchronisation of the weights."""
        super().setup(stage)
        if stage == "fit":
            check_run(self)
            with suppress(EmptyCellError):
                self.derive()  # a rule that cannot choose among the candidates says so now
            leaves_unused = self.leaves_weights_unused or self.architecture.skips
            if leaves_unused and isinstance(self.trainer.strategy, DDPStrategy):
                expect_unused_parameters(self.trainer.strategy)
            # DDP must not wait for gradients of the architecture in a backward pass of the weights
            tensors = (*self.architecture.named_parameters(), *self.architecture.named_buffers())
            keep_out_of_ddp(self, (f"architecture.{name}" for name, _ in tensors))

    def configure_optimizers(self) -> list[Any]:
        """Weights first, architecture second."""
        # with their names, which are in the checkpoint and compared when it is loaded
        weights = make_part(self.optim.weights, self.network.named_parameters(), "model.optim.weights")
        if self.order == 2:
            check_unrollable(weights)
        schedule = make_part(self.optim.schedule, weights, "model.optim.schedule")
        schedule = fit_to_run(schedule, self.trainer.max_epochs)
        arch = make_part(self.optim.arch, self.architecture.named_parameters(), "model.optim.arch")
        return [{"optimizer": weights, "lr_scheduler": schedule}, {"optimizer": arch}]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses optimiser states that belong to other parameters, or to the same ones in another order.

        Raises:
            ValueError: if names differ.
        """
        super().on_load_checkpoint(checkpoint)
        states = checkpoint.get("optimizer_states", [])
        for level, owner, state in zip(("weights", "arch"), (self.network, self.architecture), states, strict=False):
            saved = [name for group in state["param_groups"] for name in group.get("param_names", [])]
            if saved != [name for name, _ in owner.named_parameters()]:
                raise ValueError(
                    f"The optimiser state of the level '{level}' in the checkpoint belongs to other parameters than "
                    "the model has, or to another order of them."
                )

    def on_fit_start(self) -> None:
        """Makes the architecture equal on all ranks, which DDP does only for what it synchronises.

        Raises:
            ValueError: if gradients cannot be captured as asked for.
        """
        if self.optim.graphs:
            check_graphs(self)
        self.regularisation.prepare()
        if self.trainer.world_size > 1:
            for tensor in self.architecture.state_dict(keep_vars=True).values():
                torch.distributed.broadcast(tensor.data, 0)
            self.architecture.forget()

    def on_train_start(self) -> None:
        """Tells the clock how long the run is."""
        super().on_train_start()
        epochs = self.trainer.max_epochs
        assert epochs is not None  # see `check_run`
        self.architecture.clock.start(epochs * self.trainer.num_training_batches, epochs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Checks that there is a batch for each role, and sets the clock.

        Raises:
            ValueError: naming the parts that are missing.
        """
        check_roles(batch, self.roles, type(self).__name__)
        loop, batches = self.trainer.fit_loop.epoch_loop, self.trainer.num_training_batches
        # data without a length count their batches as they come
        step = self.current_epoch * batches + batch_idx if isfinite(batches) else loop.total_batch_idx
        self._step = int(step)
        self.architecture.clock.set(step, self.current_epoch + batch_idx / batches)
        self._batch = batch_idx

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the weights, whose gradients are unscaled here."""
        if self.optim.clip and optimizer is self.trainer.optimizers[0]:
            nn.utils.clip_grad_norm_(self.weights, self.optim.clip)

    def on_train_epoch_end(self) -> None:
        """Logs the means of the epoch and moves the learning rate."""
        self._check_health()
        moved = {name: self.losses[name] for name in self.losses if self.losses[name].update_called}
        self.log_now({f"{name}/loss": metric.compute() for name, metric in moved.items()}, prog_bar=True)
        if self._terms:  # of the last step, as regularisers change slowly
            self.log_now(self._terms)
        for metric in moved.values():
            metric.reset()
        cast(LRScheduler, self.lr_schedulers()).step()  # one, see `configure_optimizers`

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record; a search that is not finite any more is not saved."""
        self._check_health()
        super().on_save_checkpoint(checkpoint)

    def record(self) -> dict[str, Any]:
        """Adds the genotype, so that a checkpoint can be retrained; None where no operation of a cell is left."""
        genotype = self.derive_or_none()
        return {"genotype": None if genotype is None else genotype.to_dict()}

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _optimizers(self) -> list[LightningOptimizer]:
        """Those of the weights and of the architecture."""
        return cast("list[LightningOptimizer]", self.optimizers())  # two, see `configure_optimizers`

    # cached, because walking thousands of modules several times a step would show
    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """All parameters of the network, in the order of their optimiser."""
        return list(self.network.parameters())

    @cached_property
    def norms(self) -> list[nn.Module]:
        """All BatchNorms of the network."""
        return [module for module in self.network.modules() if isinstance(module, BatchNormKind)]

    def _apply_or_lower(self, gradient: list[Tensor] | None, scale: LossScale, loss: Tensor) -> None:
        """Updates the architecture, or lowers the scale if its gradient has overflowed, as it does in a long run."""
        if gradient is None:
            scale.lower(self.device)
        else:
            self.apply_arch_gradient(gradient, reduced=True, loss=loss)

    @property
    def _logs(self) -> bool:
        """Whether this step is one of those that are logged; 0 logs means of epochs only."""
        every = log_interval(self.trainer)
        return every > 0 and (self._batch + 1) % every == 0

    def _check_health(self) -> None:
        if (first := self._health.first_bad()) is None:
            return
        batches = self.trainer.num_training_batches
        place = f"step {first}"
        if isfinite(batches):
            epoch, batch = divmod(first, int(batches))
            place = f"epoch {epoch}, batch {batch}"
        last = Path(self.trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        raise FloatingPointError(
            f"Loss or architecture is not finite since {place} (after {self.global_step} steps "
            f"of the weights). The last good checkpoint is {last if last.exists() else 'none'}. A smaller lr "
            "(model.optim.weights.lr, model.optim.arch.lr) or a smaller model.optim.clip may help."
        )

    def _log_loss(self, level: str, value: Tensor, batch: Batch) -> Tensor:
        value = value.detach()
        logs = self._logs
        self._health.watch([value, *self.architecture.parameters()], self._step)
        if logs or value.device.type == "cpu":  # elsewhere looking means waiting for the device
            self._check_health()
        # one value per sample: without its checks, which wait for the device, the metric ignores weights
        self.losses[level].update(value.expand(self.size(batch)))
        if logs:
            self.log_now({f"{level}/loss_step": value})
        return value
