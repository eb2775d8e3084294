"""The hooks in which Lightning calls the parts of a search."""

from abc import ABC, abstractmethod
from contextlib import suppress
from math import isfinite
from typing import Any, cast

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_nas.batches import check_roles
from lit_nas.derivation import EmptyCellError
from lit_nas.search.optimizers import build_optimizers, check_owners, fit_schedule_to_steps
from lit_nas.search.processes import keep_architecture_apart, share_architecture
from lit_nas.search.random_channels import draw_channels
from lit_nas.search.search_batch import SearchBatch
from lit_nas.search.search_parts import SearchParts
from lit_nas.search.trainer_checks import check_graphs, check_run, check_trainer

__all__ = ("SearchLifecycle",)


class SearchLifecycle(SearchParts, ABC):
    """The hooks of a search: they say when something happens, and its parts do it. `SearchModule` adds the verbs."""

    @abstractmethod
    def training_step(self, batch: SearchBatch, batch_idx: int) -> None:
        """One iteration of the paper's algorithm."""

    # -- before the first step -----------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Any]:
        """Checks the Trainer before Lightning does, which names neither our keys nor the reason.

        Raises:
            ValueError: for keys of the Trainer that alternating steps cannot obey.
        """
        check_trainer(self.trainer, self.optim)
        return []

    def setup(self, stage: str) -> None:
        """Checks data, run and deriver, and excludes the architecture from DDP before the network is wrapped."""
        super().setup(stage)
        if stage == "fit":
            check_run(self)
            with suppress(EmptyCellError):
                self.derive()  # a rule that cannot choose among the candidates says so now
            keep_architecture_apart(self)

    def configure_optimizers(self) -> list[Any]:
        """Gives Lightning the optimiser of the weights, with its schedule, and that of the architecture."""
        return build_optimizers(self)

    def on_fit_start(self) -> None:
        """Prepares the regularisers, and makes the architecture equal on all ranks, now that they have met.

        Raises:
            ValueError: if gradients cannot be captured as asked for, or a regulariser does not fit.
        """
        if self.optim.graphs:
            check_graphs(self)
        self.regularisation.prepare()
        share_architecture(self)

    def on_train_start(self) -> None:
        """Tells the clock, and a schedule of steps, how long the run is, which is known once the data are there."""
        super().on_train_start()
        epochs = self.trainer.max_epochs
        assert epochs is not None  # see `check_run`
        self.architecture.clock.start(epochs * self.trainer.num_training_batches, epochs)
        fit_schedule_to_steps(self)

    # -- during training -----------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Checks that there is a batch for each role, sets the clock, which schedules read, and draws random channels.

        Raises:
            ValueError: naming the parts that are missing.
        """
        check_roles(batch, self.roles, type(self).__name__)
        loop, batches = self.trainer.fit_loop.epoch_loop, self.trainer.num_training_batches
        # data without a length count their batches as they come
        self._step = int(self.current_epoch * batches + batch_idx if isfinite(batches) else loop.total_batch_idx)
        self.architecture.clock.set(self._step, self.current_epoch + batch_idx / batches)
        draw_channels(self.network, self.architecture, self._step)
        if self.optim.schedule_every == "step" and self._step:
            # before a step, because callbacks save a checkpoint behind it before this module is asked
            cast(LRScheduler, self.lr_schedulers()).step()
        self.loss_log.begin(batch_idx)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the gradient of the weights, which a scaler has unscaled by now, and adds their decay behind it."""
        if optimizer is self.trainer.optimizers[0]:
            self.clip_weights()
            if self.optim.decay is not None and not self.optim.decay.own_step:
                self.optim.decay.join(self.weights)

    def on_train_epoch_end(self) -> None:
        """Logs the means of the epoch and, unless it follows the steps, updates the learning rate of the weights."""
        self.health.check()
        self.loss_log.epoch()
        if self.optim.schedule_every == "epoch":
            cast(LRScheduler, self.lr_schedulers()).step()  # one, see `configure_optimizers`

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record; a search that is not finite any more is not saved."""
        self.health.check()
        super().on_save_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks the record, and that optimiser states belong to the parameters that there are.

        Raises:
            ValueError: if names differ.
        """
        super().on_load_checkpoint(checkpoint)
        check_owners(self, checkpoint)

    def record(self) -> dict[str, Any]:
        """Adds the genotype, so that a checkpoint can be retrained; None where no operation of a cell is left."""
        genotype = self.derive_or_none()
        return {"genotype": None if genotype is None else genotype.to_dict()}
