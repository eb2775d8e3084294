"""What all data modules for images share: splits, loaders, augmentation on the device, and their saved state."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.parsing import AttributeDict
from torch import Tensor

from lit_nas.data.augment import Augmentation, normalise
from lit_nas.data.files import FileLoader, ImageReader
from lit_nas.data.loader import ImageBatch, RoleLoader, TensorLoader
from lit_nas.data.order import Order
from lit_nas.data.split import Split
from lit_nas.files import write_text
from lit_nas.inputs import ImageSpec
from lit_nas.recipe import plain

__all__ = ("ImageDataModule", "ImageFiles", "Pixels")


@dataclass
class Pixels:
    """A data set in memory: training images first, test images behind them."""

    images: Tensor
    """uint8 [N, C, H, W]."""
    labels: Tensor
    """int64 [N]."""
    train: int
    """Number of training images."""

    def loader(self, order: Order, device: torch.device) -> RoleLoader:
        """Batches on a device, to which all images move once if it is a GPU."""
        if self.images.device != device:
            self.images, self.labels = self.images.to(device), self.labels.to(device)
        return TensorLoader(self.images, self.labels, order)


@dataclass
class ImageFiles:
    """A data set on disk: training files first, test files behind them."""

    paths: Sequence[Path]
    """Files."""
    labels: Tensor
    """int64 [N]."""
    train: int
    """Number of training images."""
    reader: ImageReader
    """Decodes them."""
    workers: int = 0
    """Worker processes of each loader."""

    def loader(self, order: Order, device: torch.device) -> RoleLoader:
        """Batches on the CPU, pinned if they go to a GPU."""
        return FileLoader(self.paths, self.labels, self.reader, order, self.workers, pin=device.type == "cuda")


class ImageDataModule(LightningDataModule, ABC):
    """Images and labels, divided into parts by role; a final class says where they come from.

    A training batch is `{"weights": (images, labels), "arch": (images, labels)}` with as many roles as the split
    has; an epoch is one pass over the weights' part, in which a shorter part starts again and a longer one is cut.
    Other batches are (images, labels). Images are float32 [B, C, H, W], augmented in training.

    Args:
        split: `half`, `one-one-four`, `all`, or fractions of the training images by role.
        split_seed: Seed of the split; None keeps the order of the files, as DARTS does.
        batch_size: Images a batch and process in training.
        eval_batch_size: The same in evaluation; None is `batch_size`.
        augmentation: Changes of the training images; sets of digits have a default of their own.
        seed: Seed of order and augmentation.
        limit: How many training images to use, at most all, None for all; which ones follows from `split_seed`.
        validate_on_test: Whether a split with neither `val` nor `arch` validates on the test part.

    Raises:
        ValueError: for values that contradict each other or are out of range.
    """

    mean: Sequence[float]
    """Mean of each channel over the training images, in units of the largest pixel value."""
    std: Sequence[float]
    """Deviation of each channel, likewise."""

    def __init__(
        self,
        split: str | dict[str, float] = "half",
        split_seed: int | None = 0,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        augmentation: Augmentation = Augmentation(),
        seed: int = 0,
        limit: int | None = None,
        validate_on_test: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # those of the final class, for the record of a run
        self._hparams = AttributeDict(plain({k: v for k, v in self.hparams.items() if not k.startswith("_")}))
        self.split = Split(split, split_seed)
        self.batch_size, self.eval_batch_size = batch_size, batch_size if eval_batch_size is None else eval_batch_size
        self.augmentation, self.seed, self.limit = augmentation, seed, limit
        self.validate_on_test = validate_on_test
        self.parts: dict[str, Tensor] = {}
        for name in ("batch_size", "eval_batch_size", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"data.{name} must be at least 1, not {value}.")
        if validate_on_test and (others := sorted(self.roles & {"val", "arch"})):
            raise ValueError(
                f"data.validate_on_test is true, but data.split has the roles {others}, which validate. Set "
                "validate_on_test to false, or use a split without them such as `all`."
            )

    # -- what a final class gives --------------------------------------------------------------------------------

    @property
    @abstractmethod
    def inputs(self) -> ImageSpec:
        """Shape and classes, known before any pixel is read."""

    @abstractmethod
    def read(self) -> Pixels | ImageFiles:
        """Reads the data set."""

    # -- what models and callbacks ask ---------------------------------------------------------------------------

    @property
    def roles(self) -> frozenset[str]:
        """Roles of the split, known before any pixel is read."""
        return self.split.roles

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images by role, known after `setup`."""
        return {role: len(part) for role, part in self.parts.items()}

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Reads the data set once, divides it and checks it.

        Raises:
            ValueError: if the data do not fit the arguments.
        """
        if not self.parts:
            self.augmentation.check(self.inputs.channels)
            count = self._source.train
            if not count or count == len(self._source.labels):
                raise ValueError(
                    f"{type(self).__name__} has {count} training images and {len(self._source.labels) - count} test "
                    "images, but needs both. Check that the data set is complete."
                )
            self.parts = self.split.divide(count, len(self._source.labels) - count, self.limit)
        if self.trainer is not None and stage == "fit":
            if self.trainer.overfit_batches:
                raise ValueError(
                    "trainer.overfit_batches does not work with these data, whose loaders shuffle by themselves. "
                    "Leave it out and set data.limit to the number of images to overfit."
                )
            if not self.roles & {"val", "arch"} and not self.validate_on_test:
                # otherwise Lightning warns of a validation without batches
                self.trainer.limit_val_batches = 0

    def train_dataloader(self) -> dict[str, RoleLoader]:
        """One loader for each role that trains, all as long as the weights', so that the epoch is.

        Writes `split.json` beside the results of a fit: here and not before, because a checkpoint that was made with
        another split has been refused by now.
        """
        fits = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if fits and self.trainer.is_global_zero and not self.trainer.fast_dev_run:
            self._write_split(Path(self.trainer.default_root_dir) / "split.json")
        weights = self._order("weights", training=True)
        orders = {"weights": weights}
        if "arch" in self.parts:
            orders["arch"] = self._order("arch", training=True, batches=len(weights))
        return {role: self._loader(order) for role, order in orders.items()}

    def val_dataloader(self) -> RoleLoader | list[RoleLoader]:
        """The part `val`, else `arch`, else the test part if asked for, else nothing."""
        for role in ("val", "arch"):
            if role in self.parts:
                return self._loader(self._order(role, training=False))
        return self.test_dataloader() if self.validate_on_test else []

    def test_dataloader(self) -> RoleLoader:
        """The test part."""
        return self._loader(self._order("test", training=False))

    def predict_dataloader(self) -> RoleLoader:
        """The test part."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalises on the device, and augments if the Trainer is training."""
        if isinstance(batch, dict):
            return {role: self.on_after_batch_transfer(part, dataloader_idx) for role, part in batch.items()}
        if not isinstance(batch, ImageBatch):
            return batch
        scale, shift = self._constants(batch.images.device)
        # false in the sanity check and in validation within a fit
        if self.trainer is not None and self.trainer.training:
            return self.augmentation(batch.images, batch.seed, scale, shift), batch.labels
        return normalise(batch.images, scale, shift), batch.labels

    def state_dict(self) -> dict[str, Any]:
        """What identifies the split, so that no image changes its role when a run continues."""
        return {"split": self.split.describe(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that the checkpoint was made with the present split.

        Raises:
            ValueError: if it was not.
        """
        saved, present = state_dict["split"], self.split.describe(self.parts)
        if saved != present:
            changed = ", ".join(
                f"{key} was {saved.get(key)!r} and is {present[key]!r}"
                for key in present
                if saved.get(key) != present[key]
            )
            raise ValueError(
                f"The checkpoint was made with another data.split: {changed}. Images that trained one part would "
                "serve another. Use the data section that the checkpoint was made with, or start a new run."
            )

    # -- inside --------------------------------------------------------------------------------------------------

    @cached_property
    def _source(self) -> Pixels | ImageFiles:
        return self.read()

    def _order(self, role: str, training: bool, batches: int | None = None) -> Order:
        if not self.parts:
            raise RuntimeError("The data are not read yet. Call setup('fit') before asking for a loader.")
        ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        size = self.batch_size if training else self.eval_batch_size
        return Order(self.parts[role], role, self.seed, size, ranks, batches, training)

    def _loader(self, order: Order) -> RoleLoader:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        # other accelerators get batches from the CPU
        return self._source.loader(order, device if device.type == "cuda" else torch.device("cpu"))

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        # kept on the device, because making them there would wait for it at each batch
        if getattr(self, "_constants_at", None) is None or self._constants_at[0].device != device:
            mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (self.mean, self.std))
            self._constants_at = tuple(t.float().to(device) for t in (1 / (255 * std), -mean / std))
        return self._constants_at

    def _write_split(self, path: Path) -> None:
        content = {"name": self.split.name, "fractions": self.split.fractions, "seed": self.split.seed}
        text = json.dumps({**content, "parts": {role: part.tolist() for role, part in self.parts.items()}}) + "\n"
        if path.is_file() and path.read_text() == text:
            return
        write_text(path, text)
