"""What all data modules for images share: splits, loaders, augmentation on the device, and their saved state."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lit_nas.atomic_write import write_text
from lit_nas.data.augment import Augmentation, normalise
from lit_nas.data.file_loader import EXTENSIONS, FileLoader, ImageReader, list_images
from lit_nas.data.order import Order, generator, mix
from lit_nas.data.role_loader import RoleLoader
from lit_nas.data.split import Split
from lit_nas.data.tensor_loader import RawBatch, TensorLoader
from lit_nas.internals import is_trial, overfits, record_arguments
from lit_nas.record.plain import plain
from lit_nas.specs import ImageSpec

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
    paths: Sequence[Path] = ()
    """Files that the images were read from; empty if the data set does not have a file per image."""

    def loader(self, order: Order, device: torch.device) -> RoleLoader[RawBatch]:
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

    def loader(self, order: Order, device: torch.device) -> RoleLoader[RawBatch]:
        """Batches on the CPU, pinned if they go to a GPU."""
        return FileLoader(self.paths, self.labels, self.reader, order, self.workers, pin=device.type == "cuda")


class ImageDataModule(LightningDataModule, ABC):
    """Images and labels, divided into parts by role; a final class says where they come from.

    A training batch is `{"weights": (images, labels), "arch": (images, labels)}` with as many roles as the split
    has; an epoch is one pass over the weights' part, in which a shorter part starts again and a longer one is cut.
    A retraining (`RetrainModule`) gets the parts `weights` and `arch` of the same split as one part `weights`, and
    the test part of the search; the part `val` trains neither of them.
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
        predict_root: Folder of images without labels, directly in it or below, that `predict` classifies; None
            predicts the test part.

    Raises:
        ValueError: for values that contradict each other or are out of range.
    """

    mean: Sequence[float]
    """Mean of each channel over the training images, in units of the largest pixel value."""
    std: Sequence[float]
    """Deviation of each channel over the training images, in units of the largest pixel value."""
    num_workers: int = 0
    """Worker processes of a loader that reads files."""

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
        predict_root: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # those of the final class, for the record of a run
        record_arguments(self, plain({k: v for k, v in self.hparams.items() if not k.startswith("_")}))
        self.split = Split(split, split_seed)
        self.batch_size, self.eval_batch_size = batch_size, batch_size if eval_batch_size is None else eval_batch_size
        self.augmentation, self.seed, self.limit = augmentation, seed, limit
        self.validate_on_test = validate_on_test
        self.parts: dict[str, Tensor] = {}
        self._constants_at: tuple[Tensor, Tensor] | None = None
        for name in ("batch_size", "eval_batch_size", "limit"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"data.{name} must be at least 1, not {value}.")
        self.predict_root = None if predict_root is None else Path(predict_root)

    # -- what a final class gives --------------------------------------------------------------------------------

    @property
    @abstractmethod
    def spec(self) -> ImageSpec:
        """Shape and classes, known before any pixel is read."""

    @abstractmethod
    def read(self) -> Pixels | ImageFiles:
        """Reads the data set."""

    @cached_property
    def reader(self) -> ImageReader:
        """What decodes files."""
        return ImageReader(self.spec.channels, (self.spec.height, self.spec.width))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels; the labels themselves if classes have no names."""
        return tuple(str(label) for label in range(self.spec.classes))

    @property
    def test_rule(self) -> dict[str, Any]:
        """What the choice of the test images depends on; equal rules on equal data choose the same ones."""
        return {"split": self.split.name, "split_seed": self.split.seed} if self.split.pooled else {}

    @property
    def origin(self) -> dict[str, Any]:
        """Which images there are before they are divided."""
        return {"class": type(self).__name__}

    # -- what models and callbacks ask ---------------------------------------------------------------------------

    @property
    def roles(self) -> frozenset[str]:
        """Roles of the split, known before any pixel is read."""
        return self.split.roles

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images by role, known after `setup`."""
        return {role: len(part) for role, part in self.parts.items()}

    @property
    def predicted_names(self) -> list[str]:
        """Files that `predict` classifies, in their order; where images have no files, their indices."""
        if self.predict_root is not None:
            return [str(path) for path in self._unlabelled]
        paths = self._source.paths
        return [str(paths[i]) if paths else str(i) for i in self.parts["test"].tolist()]

    @property
    def held_out(self) -> dict[str, Any]:
        """What identifies the test part, as plain data; genotypes carry it (`meta.held_out`)."""
        return {"images": self.origin, "rule": self.test_rule}

    def refuse_leak(self, search: Mapping[str, Any]) -> None:
        """Refuses to retrain on these data if the search trained on images that they test on.

        Args:
            search: `held_out` of the data of the search.

        Raises:
            ValueError: if both use the same images but choose the test part by other rules.
        """
        ours, theirs = self.origin, search["images"]
        if ours["class"] != theirs["class"] or not (self.test_rule or search["rule"]):
            return  # other data, or the data set's own test part on both sides
        if ours != theirs:
            rank_zero_warn(
                "The images are not those of the search (files were added, removed or renamed, or it is another data "
                "set), and a test part is drawn from them: whether the retraining tests on images that the search "
                "trained on cannot be told."
            )
        elif search["rule"] != self.test_rule:
            raise ValueError(
                "The retraining would test on images that the search trained on: its test part is "
                f"{_say(self.test_rule)}, that of the search is {_say(search['rule'])}. Give the retraining the "
                "data.split, split_seed and test_fraction of the search; it trains on the parts `weights` and `arch` "
                "together."
            )

    # -- hooks of Lightning --------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Reads the data set once, divides it and checks it.

        Raises:
            ValueError: if the data do not fit the arguments.
        """
        merged = self.trainer is not None and getattr(self.trainer.lightning_module, "merges_roles", False)
        if merged != self.split.merged:
            self.split, self.parts = replace(self.split, merged=merged), {}
        if self.validate_on_test and (others := sorted(self.roles & {"val", "arch"})):
            raise ValueError(
                f"data.validate_on_test is true, but data.split has the roles {others}, which validate. Set "
                "validate_on_test to false, or use a split without them such as `all`."
            )
        if stage == "predict" and self.predict_root is not None:
            _ = self._unlabelled  # the only images that are read
            return
        if not self.parts:
            self.augmentation.check(self.spec)
            _check_labels(self._source, self.class_names, type(self).__name__)
            count = self._source.train
            self.parts = self.split.divide(count, len(self._source.labels) - count, self.limit)
        if self.trainer is not None and stage == "fit":
            self._prepare_fit(self.trainer)

    def train_dataloader(self) -> dict[str, RoleLoader[RawBatch]]:
        """One loader for each role that trains, all as long as the weights', so that the epoch is.

        Writes `split.json` and `classes.json` beside the results of a fit: here and not before, because a checkpoint
        that was made with another split has been refused by now.
        """
        if (trainer := self.trainer) is not None:
            fits = trainer.state.fn == TrainerFn.FITTING
            if fits and trainer.is_global_zero and not is_trial(trainer):
                self._write_parts(Path(trainer.default_root_dir))
        weights = self._order("weights", training=True)
        orders = {"weights": weights}
        if "arch" in self.parts:
            orders["arch"] = self._order("arch", training=True, batches=len(weights))
        return {role: self._loader(order, self._source) for role, order in orders.items()}

    def val_dataloader(self) -> RoleLoader[RawBatch] | list[RoleLoader[RawBatch]]:
        """The part `val`, else `arch`, else the test part if asked for, else nothing."""
        for role in ("val", "arch"):
            if role in self.parts:
                return self._loader(self._order(role, training=False), self._source)
        return self.test_dataloader() if self.validate_on_test else []

    def test_dataloader(self) -> RoleLoader[RawBatch]:
        """The test part."""
        return self._loader(self._order("test", training=False), self._source)

    def predict_dataloader(self) -> RoleLoader[RawBatch]:
        """The images of `predict_root`, whose labels are -1, or the test part."""
        if self.predict_root is None:
            return self.test_dataloader()
        paths = self._unlabelled
        files = ImageFiles(paths, torch.full((len(paths),), -1), 0, self.reader, self.num_workers)
        return self._loader(self._order_of(torch.arange(len(paths)), "predict", training=False), files)

    def training_images(self, count: int, device: torch.device) -> Iterator[Tensor]:
        """Images that a search trains on, neither augmented nor in the order of training: to look at a network.

        They are drawn from the parts `weights` and `arch` together by `seed`, so that files that are sorted by class
        do not matter. All processes get the same ones.

        Args:
            count: How many; the last batch is cut to fit.
            device: Where batches of `eval_batch_size` normalised images are put.

        Raises:
            RuntimeError: before `setup`.
            ValueError: if there are fewer.
        """
        if not self.parts:
            raise RuntimeError("The data are not read yet. Call setup('fit') before asking for images.")
        part = torch.cat([self.parts[role] for role in ("weights", "arch") if role in self.parts])
        if count > len(part):
            raise ValueError(
                f"{count} training images were asked for, but data.split leaves {len(part)} to the parts that are "
                "trained on: ask for fewer images, or use a larger data.limit."
            )
        drawn = part[torch.randperm(len(part), generator=generator(mix(self.seed, "training images")))[:count]]
        return self._normalised(
            Order(drawn, "training images", self.seed, self.eval_batch_size, training=False), device
        )

    def _normalised(self, order: Order, device: torch.device) -> Iterator[Tensor]:
        scale, shift = self._constants(device)
        for batch in self._source.loader(order, device if device.type == "cuda" else torch.device("cpu")):
            yield normalise(batch.images.to(device, non_blocking=True), scale, shift)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Normalises on the device, and augments if the Trainer is training."""
        if isinstance(batch, dict):
            return {role: self.on_after_batch_transfer(part, dataloader_idx) for role, part in batch.items()}
        if not isinstance(batch, RawBatch):
            return batch
        scale, shift = self._constants(batch.images.device)
        if self.trainer is None:
            return normalise(batch.images, scale, shift), batch.labels
        # false in the sanity check and in validation within a fit
        if self.trainer.training:
            images = self.augmentation(batch.images, batch.seed, scale, shift)
        else:
            images = normalise(batch.images, scale, shift)
        # Lightning did so before there were floating-point numbers: 64-true wants other ones
        return self.trainer.precision_plugin.convert_input(images), batch.labels

    def state_dict(self) -> dict[str, Any]:
        """What identifies the split, so that no image changes its role when a run continues, and the classes' names."""
        return {"split": self.split.describe(self.parts), "classes": list(self.class_names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Checks that the checkpoint was made with the present split and classes.

        Raises:
            ValueError: if it was not.
        """
        classes = state_dict.get("classes", list(self.class_names))
        if classes != list(self.class_names):
            raise ValueError(
                f"The checkpoint was made with the classes {classes}, but the data have {list(self.class_names)}, so "
                "that labels would change their meaning. Use the data that the checkpoint was made with."
            )
        saved, present = state_dict["split"], self.split.describe(self.parts)
        if self.parts and saved != present:  # no parts: only images without labels are predicted
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

    @cached_property
    def _unlabelled(self) -> list[Path]:
        if self.predict_root is None or not self.predict_root.is_dir():
            raise FileNotFoundError(f"data.predict_root {str(self.predict_root)!r} is no folder.")
        if not (paths := list_images(self.predict_root)):
            raise ValueError(
                f"data.predict_root {str(self.predict_root)!r} has no image: looked in it and below for files that end "
                f"in {', '.join(EXTENSIONS)}."
            )
        return paths

    def _prepare_fit(self, trainer: Trainer) -> None:
        if overfits(trainer):
            raise ValueError(
                "trainer.overfit_batches does not work with these data, whose loaders shuffle by themselves. "
                "Leave it out and set data.limit to the number of images to overfit."
            )
        if not self.roles & {"val", "arch"} and not self.validate_on_test:
            # otherwise Lightning warns of a validation without batches
            trainer.limit_val_batches = 0

    def _write_parts(self, folder: Path) -> None:
        split = {"name": self.split.name, "fractions": self.split.fractions, "seed": self.split.seed}
        parts = {role: part.tolist() for role, part in self.parts.items()}
        _write_json(folder / "split.json", {**split, "merged": self.split.merged, "parts": parts})
        _write_json(folder / "classes.json", list(self.class_names))

    def _order(self, role: str, training: bool, batches: int | None = None) -> Order:
        if not self.parts:
            raise RuntimeError("The data are not read yet. Call setup('fit') before asking for a loader.")
        return self._order_of(self.parts[role], role, training, batches)

    def _order_of(self, indices: Tensor, role: str, training: bool, batches: int | None = None) -> Order:
        ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        size = self.batch_size if training else self.eval_batch_size
        return Order(indices, role, self.seed, size, ranks, batches, training)

    def _loader(self, order: Order, source: Pixels | ImageFiles) -> RoleLoader[RawBatch]:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        # other accelerators get batches from the CPU
        return source.loader(order, device if device.type == "cuda" else torch.device("cpu"))

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        # kept on the device, because making them there would wait for it at each batch
        if self._constants_at is None or self._constants_at[0].device != device:
            mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (self.mean, self.std))
            self._constants_at = (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)
        return self._constants_at


def _check_labels(source: Pixels | ImageFiles, names: Sequence[str], owner: str) -> None:
    """Refuses data of which a part is missing, or whose labels are not those of the classes."""
    count, labels = source.train, source.labels
    if not count or count == len(labels):
        raise ValueError(
            f"{owner} has {count} training images and {len(labels) - count} test images, but needs both. Check that "
            "the data set is complete."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= len(names):
        raise ValueError(
            f"{owner} has labels from {int(labels.min())} to {int(labels.max())}, but {len(names)} classes, whose "
            f"labels are 0 to {len(names) - 1}."
        )
    found = labels[:count].bincount(minlength=len(names))
    if absent := [name for name, images in zip(names, found.tolist(), strict=True) if not images]:
        raise ValueError(
            f"{owner} has {len(names)} classes, but no training image of {absent}. Add images of them, or leave these "
            "classes out."
        )


def _say(rule: Mapping[str, Any]) -> str:
    """The choice of the test part in words."""
    words = ", ".join(f"{name} {value}" for name, value in rule.items())
    return f"drawn by {words}" if words else "that of the data set"


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
