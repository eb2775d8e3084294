"""The parts of a search, and the hooks in which Lightning calls them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from math import isfinite
from typing import Any, cast

from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_nas.architecture import Architecture
from lit_nas.batches import Batch, check_roles
from lit_nas.derivation import Deriver, EmptyCellError
from lit_nas.genotype import Genotype
from lit_nas.internals import BatchNormKind
from lit_nas.record.names import import_class
from lit_nas.record.plain import build, plain
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.search.found_genotype import found_genotype
from lit_nas.search.gradients import Gradients
from lit_nas.search.health import Health
from lit_nas.search.loss_log import LossLog
from lit_nas.search.means import Means
from lit_nas.search.optimizers import build_optimizers, check_owners, fit_schedule_to_steps
from lit_nas.search.perturbed_weights import PerturbedWeights
from lit_nas.search.processes import keep_architecture_apart, share_architecture
from lit_nas.search.random_channels import draw_channels
from lit_nas.search.regularisation import Regularisation
from lit_nas.search.samples import Samples
from lit_nas.search.search_batch import SearchBatch
from lit_nas.search.search_optim import SearchOptim
from lit_nas.search.trainer_checks import check_graphs, check_run, check_trainer

__all__ = ("SearchLifecycle",)


class SearchLifecycle(RecordedModule, ABC):
    """The parts of a search and its hooks; `SearchModule` adds the verbs.

    Hooks say when something happens, and parts do it: gradients, regularisers, perturbation, health, logs, optimisers.
    """

    network: nn.Module
    architecture: Architecture
    deriver: Deriver | None = None
    """How the architecture is made discrete; None is the rule of the space."""
    optim: SearchOptim
    order: int = 1
    """Order of the architecture gradient; 2 restricts the optimiser of the weights."""
    differentiates_mixture: bool = True
    """Whether the architecture learns from the gradient by its mixing weights."""
    leaves_weights_unused: bool = False
    """Whether a step may leave weights without a gradient, those of pruned candidates for example; not needed for those
    that a relaxation does not draw."""

    @property
    def measures(self) -> tuple[str, ...]:
        """Costs that steps look at, beside those of the regularisers: their tables are made before the first step."""
        return ()

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
        self._step = 0
        self._told_of_empty_cell = False
        self.gradients, self.health, self.loss_log = Gradients(self), Health(self), LossLog(self)
        self.samples = Samples(self)
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

    @property
    def arch_moves(self) -> bool:
        """Whether the architecture is updated in this epoch."""
        return self.current_epoch >= self.optim.arch_from_epoch

    # cached, because walking thousands of modules several times a step would show
    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """All parameters of the network, in the order of their optimiser."""
        return list(self.network.parameters())

    @cached_property
    def norms(self) -> list[nn.Module]:
        """All BatchNorms of the network."""
        return [module for module in self.network.modules() if isinstance(module, BatchNormKind)]

    def spans_run(self) -> str:
        """The clock, and with it whatever a method does over the run."""
        return "the clock and the schedules of a search span the run"

    # -- what has been found -------------------------------------------------------------------------------------

    def derive(self) -> Genotype:
        """The discrete cells that the architecture stands for now.

        Raises:
            EmptyCellError: if no operation of a cell is left.
        """
        return found_genotype(self)

    def derive_or_none(self) -> Genotype | None:
        """The discrete cells, or None if no operation of a cell is left, which is said once; a search continues."""
        try:
            return self.derive()
        except EmptyCellError as error:
            if not self._told_of_empty_cell:
                self._told_of_empty_cell = True
                rank_zero_warn(f"There is no genotype yet. {error} The run goes on without one.")
            return None

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

    def clip_weights(self) -> None:
        """Scales the gradient of all weights together to the norm that they may have."""
        if self.optim.clip:
            nn.utils.clip_grad_norm_(self.weights, self.optim.clip)

    def note_loss(self, level: str, value: Tensor, batch: Batch) -> Tensor:
        """Watches and logs the loss of a step.

        Args:
            level: `weights` or `arch`.
            value: The loss.
            batch: What it is the loss of.

        Returns:
            The loss, detached.
        """
        value = value.detach()
        self.health.watch([value, *self.architecture.parameters()], self._step)
        if self.loss_log.due or value.device.type == "cpu":  # elsewhere looking means waiting for the device
            self.health.check()
        self.loss_log.loss(level, value, self.size(batch))
        return value

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

    @property
    def _optimizers(self) -> list[LightningOptimizer]:
        """Those of the weights and of the architecture."""
        return cast("list[LightningOptimizer]", self.optimizers())  # two, see `configure_optimizers`
