"""The parts of a search."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import cast

from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from lit_nas.architecture import Architecture
from lit_nas.batches import Batch
from lit_nas.derivation import Deriver, EmptyCellError
from lit_nas.genotype import Genotype
from lit_nas.internals import BatchNormKind
from lit_nas.optim import clip_gradients
from lit_nas.record.names import import_class
from lit_nas.record.plain import build, plain
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.search.found_genotype import found_genotype
from lit_nas.search.gradients import Gradients
from lit_nas.search.health import Health
from lit_nas.search.loss_log import LossLog
from lit_nas.search.means import Means
from lit_nas.search.perturbed_weights import PerturbedWeights
from lit_nas.search.regularisation import Regularisation
from lit_nas.search.samples import Samples
from lit_nas.search.search_optim import SearchOptim

__all__ = ("SearchParts",)


class SearchParts(RecordedModule, ABC):
    """What a search is made of: gradients, regularisers, perturbation, health, logs, optimisers, and what it has found.

    `SearchLifecycle` says when each of them acts.
    """

    network: nn.Module
    architecture: Architecture
    deriver: Deriver | None = None
    """How the architecture is made discrete; None is the rule of the space."""
    optim: SearchOptim
    judged_by: str = "accuracy"
    """What the validation measures (`val/...`) and the genotype remembers."""
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

    def clip_weights(self) -> None:
        """Clips the gradient of the weights."""
        clip_gradients(self.weights, self.optim.clip, self.optim.clip_by)

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

    @property
    def _optimizers(self) -> list[LightningOptimizer]:
        """Those of the weights and of the architecture."""
        return cast("list[LightningOptimizer]", self.optimizers())  # two, see `configure_optimizers`
