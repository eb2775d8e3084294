"""Retraining: a genotype trained from scratch, with the papers' recipe.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, appendix A.2 and A.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, Metric

from lit_nas.batches import by_role
from lit_nas.clock import Moment
from lit_nas.image_batches import CheckedBatches, ImageBatch, images_of
from lit_nas.internals import data_of
from lit_nas.networks import RetrainNetwork
from lit_nas.networks.registry import build_retrain_network, find_retrain_network
from lit_nas.optim import (
    ClipBy,
    CosineLR,
    DartsSGD,
    OptimizerCallable,
    SchedulerCallable,
    check_clipping,
    clip_gradients,
    fit_to_run,
    is_spanning,
    make_part,
)
from lit_nas.retrain.retraining import GenotypeSource, Retraining
from lit_nas.schedules import Linear
from lit_nas.specs import ImageSpec, Spec

__all__ = ("RetrainModule", "RetrainOptim")


@dataclass(frozen=True)
class RetrainOptim:
    """How the weights are updated. The defaults are those of DARTS on CIFAR (appendix A.2).

    For ImageNet the paper has `DartsSGD` with lr 0.1 and weight decay 3e-5, `EpochDecayLR`, `drop_path` 0 and
    `label_smoothing` 0.1.

    Raises:
        ValueError: if a number is out of range.
    """

    weights: OptimizerCallable = DartsSGD
    """Optimiser."""
    schedule: SchedulerCallable = CosineLR
    """Learning rate over the run."""
    schedule_every: Literal["epoch", "step"] = "epoch"
    """How often the learning rate is updated."""
    clip: float = 5.0
    """Largest norm of the gradient of all weights together; 0 does not clip."""
    clip_by: ClipBy = "norm"
    """Whether `clip` limits the norm of the gradient, or the absolute value of each of its entries."""
    drop_path: float = 0.2
    """Chance of dropping a path at the end of the run; it rises linearly from 0 with the epoch."""
    auxiliary_weight: float = 0.4
    """Weight of the auxiliary head's loss; 0 means that there is no such head."""
    label_smoothing: float = 0.0
    """Part of the target that is spread over all classes."""

    def __post_init__(self) -> None:
        check_clipping(self.clip_by)
        for name in ("clip", "auxiliary_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"model.optim.{name} must not be negative, but is {getattr(self, name)}.")
        for name in ("drop_path", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.optim.{name} must be in [0, 1), but is {getattr(self, name)}.")


class RetrainModule(CheckedBatches, Retraining):
    """Trains the network of a genotype from scratch.

    Data of lit-nas that are split for a search come with the parts `weights` and `arch` merged, and with the test part
    of the search. A plain DataLoader over (image, label) tuples serves as well.

    Args:
        genotype: A `Genotype`, its dict form, a published name, a genotype file, a checkpoint of a search, or an
            architecture string of NAS-Bench-201.
        spec: Images and labels; flows in from the data on the command line.
        network: What is built of the genotype: the name of a network, `cifar` for small images and `imagenet` for large
            ones, or the class of one (`RetrainNetwork`). None means that of the space of the genotype.
        init_channels: C of the first cell; None means the network's own, the paper's.
        num_cells: Depth; None means the network's own, the paper's.
        optim: Optimiser and regularisation.
    """

    spec: ImageSpec
    spec_class: ClassVar[type[Spec]] = ImageSpec

    def __init__(
        self,
        genotype: GenotypeSource = "DARTS_V2",
        spec: ImageSpec = ImageSpec(),
        network: str | RetrainNetwork | None = None,
        init_channels: int | None = None,
        num_cells: int | None = None,
        optim: RetrainOptim = RetrainOptim(),
    ) -> None:
        super().__init__()
        if optim.label_smoothing and not spec.task.smooths_labels:
            raise ValueError(
                f"model.optim.label_smoothing is {optim.label_smoothing}, but the targets of "
                f"{type(spec.task).__name__} (spec.task) are no classes to be smoothed: set it to 0."
            )
        self.spec, self.optim = spec, optim
        self.genotype = self.take(genotype)
        self.paper_batch_size = find_retrain_network(network, self.genotype).paper_batch_size
        self.network = build_retrain_network(
            network, self.genotype, spec, init_channels, num_cells, optim.auxiliary_weight > 0
        )
        for stage in ("train", "val", "test"):
            for name, metric in spec.task.metrics(spec, test=stage == "test").items():
                setattr(self, f"{stage}_{name}", metric)
        self.train_loss = MeanMetric(nan_strategy="disable")
        # so that an interruption within an epoch loses nothing
        for metric in (self.train_loss, *self._metrics_of("train").values()):
            metric.persistent(True)

    def training_step(self, batch: Mapping[str, ImageBatch] | ImageBatch, batch_idx: int) -> Tensor:
        """Loss of both heads, with paths dropped at random."""
        images, targets = by_role(batch)["weights"]
        loss, outputs = self._training_loss(images, targets, self.drop_probability)
        # one value per image: without its checks, which wait for the device, the metric ignores weights
        self.train_loss.update(loss.detach().expand(len(images)))
        for metric in self._metrics_of("train").values():
            metric.update(*self.spec.task.score(outputs.detach(), targets))
        return loss

    def loss(self, batch: ImageBatch) -> Tensor:
        """Loss of both heads as in training, without dropped paths.

        Args:
            batch: Images and targets.
        """
        return self._training_loss(*batch, 0.0)[0]

    def on_train_epoch_end(self) -> None:
        """Logs the means of the epoch."""
        own = {f"train/{name}": metric for name, metric in self._metrics_of("train").items()}
        metrics: dict[str, Metric] = {"train/loss": self.train_loss, **own}
        self.log_now({name: metric.compute() for name, metric in metrics.items()}, prog_bar=True)
        for metric in metrics.values():
            metric.reset()

    @property
    def drop_probability(self) -> float:
        """Chance of dropping a path in this epoch."""
        epochs = self.trainer.max_epochs
        assert epochs is not None  # see `setup`
        now = Moment(0.0, float(self.current_epoch), total_epochs=float(epochs))
        return float(Linear(0.0, self.optim.drop_path, every="epoch")(now))

    def spans_run(self) -> str:
        """Dropped paths, and a schedule without a length of its own."""
        optimizer = self.optim.weights(self.network.parameters())
        spanning = is_spanning(self.optim.schedule(optimizer))
        parts = [*(["model.optim.drop_path"] if self.optim.drop_path else []), *(["model.optim.schedule"] * spanning)]
        return f"{' and '.join(parts)} span the run" if parts else ""

    def run_settings(self) -> dict[str, Any]:
        """Adds the number of steps, if the schedule may span it."""
        settings = super().run_settings()
        if self.optim.schedule_every == "step":
            settings["trainer"]["max_steps"] = self.trainer.max_steps
        return settings

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> outputs, logits [B, K] in classification."""
        return self.network(images)[0]

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and metrics on validation data."""
        self._evaluate(batch, "val")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Loss and metrics on test data; in classification with more than five classes top-5 accuracy, too."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: ImageBatch | Tensor, batch_idx: int) -> Any:
        """What the task says of each image: its class and the probability of that in classification."""
        return self.spec.task.predict(self(images_of(batch)))

    def setup(self, stage: str) -> None:
        """Checks the data and the Trainer.

        Raises:
            ValueError: if the images differ from the module's, a key of the Trainer contradicts `optim`, or the test
                part has images that the search trained on.
        """
        super().setup(stage)
        if stage != "fit":
            return
        searched, data = self.genotype.meta.get("held_out"), data_of(self.trainer)
        if data is not None and hasattr(data, "refuse_leak"):
            if searched is not None:
                data.refuse_leak(searched)
            elif (
                "method" in self.genotype.meta
            ):  # found by a search of an earlier release, or on data of the user's own
                rank_zero_info(
                    "The genotype does not say which images its search held out, so nothing is known of images that "
                    "were trained on in the search and are tested on now."
                )
        if self.trainer.max_epochs is None or self.trainer.max_epochs < 1:
            raise ValueError(
                f"Retraining needs trainer.max_epochs >= 1, not {self.trainer.max_epochs}: learning rate and drop path "
                "span the run."
            )
        if self.trainer.gradient_clip_val or self.trainer.gradient_clip_algorithm is not None:
            raise ValueError(
                f"trainer.gradient_clip_val is {self.trainer.gradient_clip_val}, but model.optim.clip clips already. "
                f"Set model.optim.clip (now {self.optim.clip}) and leave trainer.gradient_clip_val out."
            )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Gives Lightning the optimiser and the schedule of its learning rate, by epochs or steps."""
        optimizer = make_part(self.optim.weights, self.network.parameters(), "model.optim.weights")
        schedule, every = make_part(self.optim.schedule, optimizer, "model.optim.schedule"), self.optim.schedule_every
        if every == "epoch":
            schedule = fit_to_run(schedule, self.trainer.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": every}}

    def on_train_start(self) -> None:
        """Gives a schedule of steps its length, which is known once the data are there.

        Asking for it earlier would load the data before a checkpoint says where in an epoch they continue.
        """
        super().on_train_start()
        schedule = self.lr_schedulers()
        if self.optim.schedule_every == "step" and isinstance(schedule, LRScheduler) and is_spanning(schedule):
            steps = int(self.trainer.estimated_stepping_batches)
            fit_to_run(schedule, steps, steps // (self.trainer.max_epochs or 1))

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the gradient of the weights, which a scaler has unscaled by now."""
        clip_gradients(self.network.parameters(), self.optim.clip, self.optim.clip_by)

    def _metrics_of(self, stage: str) -> dict[str, Metric]:
        """The metrics of the task by name."""
        found = ((name, module) for name, module in self.named_children() if isinstance(module, Metric))
        return {
            name.removeprefix(f"{stage}_"): metric
            for name, metric in found
            if name.startswith(f"{stage}_") and name != "train_loss"
        }

    def _training_loss(self, images: Tensor, targets: Tensor, drop_probability: float) -> tuple[Tensor, Tensor]:
        """The loss of both heads, and the outputs."""
        outputs, auxiliary = self.network(images, drop_probability)
        task, smoothing = self.spec.task, self.optim.label_smoothing
        loss = task.loss(outputs, targets, smoothing)
        if auxiliary is not None:
            loss = loss + self.optim.auxiliary_weight * task.loss(auxiliary, targets, smoothing)
        return loss, outputs

    def _evaluate(self, batch: ImageBatch, stage: str) -> None:
        images, targets = batch
        task, outputs = self.spec.task, self(images)
        self.log(f"{stage}/loss", task.loss(outputs, targets), batch_size=len(images), sync_dist=True)
        for name, metric in self._metrics_of(stage).items():
            metric.update(*task.score(outputs, targets))
            self.log(f"{stage}/{name}", metric, prog_bar=name == task.best, batch_size=len(images))
