"""The base of every trainable module: it knows how it was made, and its checkpoints say so."""

import os
from abc import ABC
from contextvars import ContextVar
from inspect import isabstract
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.utilities.parsing import AttributeDict
from torch import Tensor, nn
from torchmetrics import Metric

from lit_nas.inputs import ImageSpec
from lit_nas.names import import_class, public_name
from lit_nas.recipe import plain

__all__ = ("RecordedModule", "load_module", "read_checkpoint")

FORMAT_VERSION = 1
_rebuilding: ContextVar[dict[str, Any] | None] = ContextVar("rebuilding", default=None)
"""Arguments of the module that is being rebuilt from a checkpoint, in the plain form that they have there."""


class RecordedModule(LightningModule, ABC):
    """Records the constructor call of its final class as plain data.

    The record goes to loggers and into checkpoints, from which `load_module` rebuilds the module; checkpoints hold
    builtins and tensors only and load with `weights_only=True`. The constructor takes no arguments, so that the
    arguments recorded are those of the final class.
    """

    inputs: ImageSpec
    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        arguments = _rebuilding.get()
        if arguments is None:
            self.save_hyperparameters()
            arguments = plain({key: value for key, value in self.hparams.items() if not key.startswith("_")})
        self._hparams = AttributeDict(arguments)
        self._hparams_initial = AttributeDict(arguments)
        self._log_hyperparams = True

    def record(self) -> dict[str, Any]:
        """Further plain data for the checkpoint; final classes may extend it."""
        return {}

    def log_now(self, values: dict[str, Tensor | float], prog_bar: bool = False) -> None:
        """Hands scalars to all loggers at once, and to progress bar and `trainer.callback_metrics`.

        Lightning hands over what is logged in training only after the checkpoint of that step has been written, so a
        run that continues from it would miss one entry of the curves.

        Args:
            values: By name.
            prog_bar: Whether the progress bar shows them.
        """
        step = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        numbers = {name: float(value) for name, value in values.items()}
        for logger in self.trainer.loggers:
            logger.log_metrics({**numbers, "epoch": self.current_epoch}, step)
        self.log_dict(numbers, logger=False, prog_bar=prog_bar, on_step=None, on_epoch=None)

    def setup(self, stage: str) -> None:
        """Refuses a data module whose images are not what the network was built for.

        Raises:
            ValueError: if the two differ.
        """
        data: LightningDataModule | None = getattr(self.trainer, "datamodule", None)
        if data is not None and getattr(data, "inputs", self.inputs) != self.inputs:
            raise ValueError(
                f"The network was built for {self.inputs}, but {type(data).__name__} hands over {data.inputs}. "
                "Leave model.inputs out on the command line, or pass `inputs=data.inputs` in Python."
            )

    def on_validation_start(self) -> None:
        """Gives all ranks the running statistics of rank 0, which are those that a checkpoint holds.

        DDP does so before each training step, but not before a validation, whose result would then depend on whether
        the run has been interrupted.
        """
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_test_start(self) -> None:
        """Likewise."""
        self.on_validation_start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record, and the metrics of all ranks: means of an epoch are taken over shards. All ranks call it."""
        metrics: list[dict[str, Tensor]] = []
        if self._trainer is not None and self.trainer.world_size > 1:
            metrics = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(metrics, self._metrics())
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        arguments = dict(self.hparams)
        checkpoint["lit_nas"] = {
            "version": FORMAT_VERSION,
            "class_path": path,
            "init_args": arguments,
            "metrics": metrics,
            **self.record(),
        }

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path) -> "RecordedModule":  # type: ignore[override]
        """Rebuilds the module of a checkpoint, see `load_module`.

        Raises:
            ValueError: if it was written by another class.
        """
        module = load_module(checkpoint_path)
        if not isinstance(module, cls):
            raise ValueError(f"'{checkpoint_path}' was written by {type(module).__name__}, not by {cls.__name__}.")
        return module

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another class or format.

        Raises:
            ValueError: naming both.
        """
        record = _record_of(checkpoint, "The checkpoint")
        if (found := import_class(record["class_path"])) is not type(self):
            raise ValueError(
                f"The checkpoint was written by {found.__name__}, but the model is {type(self).__name__}. Choose the "
                f"model `{found.__name__}`, or a checkpoint of {type(self).__name__}."
            )
        ours = {name: list(value.shape) for name, value in self.state_dict().items()}
        theirs = {name: list(value.shape) for name, value in checkpoint["state_dict"].items()}
        if different := sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)):
            raise ValueError(
                f"The checkpoint does not fit the model: {len(different)} tensors differ in name or shape, "
                f"'{different[0]}' for one ({theirs.get(different[0])} there, {ours.get(different[0])} here). It was "
                "made with other settings of the space, the network or the data."
            )
        metrics = checkpoint["lit_nas"].get("metrics", ())
        if metrics and self._trainer is not None and self.trainer.world_size == len(metrics):
            checkpoint["state_dict"].update(metrics[self.trainer.global_rank])

    def _metrics(self) -> dict[str, Tensor]:
        prefixes = tuple(f"{name}." for name, module in self.named_modules() if isinstance(module, Metric))
        return {name: value.cpu() for name, value in self.state_dict().items() if name.startswith(prefixes)}


def _record_of(checkpoint: Any, name: str) -> dict[str, Any]:
    record = checkpoint.get("lit_nas") if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict) or "class_path" not in record:
        raise ValueError(f"{name} was not written by lit-nas: it has no `lit_nas` record.")
    if record.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {record.get('version')}; this release reads version {FORMAT_VERSION}."
        )
    if not isinstance(record.get("init_args"), dict):
        raise ValueError(f"{name} does not say how its module was made (`lit_nas.init_args`).")
    _check_classes(record["init_args"], name)
    if not str(record["class_path"]).startswith("lit_nas."):
        raise ValueError(f"{name} names the class '{record['class_path']}', which is not part of lit-nas.")
    return record


def _check_classes(value: Any, name: str) -> None:
    """Refuses constructor arguments that would make the reader import other code than lit-nas's and torch's."""
    if isinstance(value, dict):
        path = value.get("class_path", "lit_nas.")
        if not str(path).startswith(("lit_nas.", "torch.optim.")):
            raise ValueError(f"{name} names the class '{path}', which is neither of lit-nas nor an optimiser of torch.")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_classes(item, name)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file of lit-nas without executing anything in it.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or not of lit-nas.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint '{path}'.")
    try:
        with ZipFile(path) as archive:  # torch does not compare the checksums that it writes
            if damaged := archive.testzip():
                raise ValueError(f"checksum of {damaged}")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        raise ValueError(
            f"'{path}' cannot be read as a checkpoint; it may be truncated or of another program. ({error})"
        ) from error
    _record_of(checkpoint, f"'{path}'")
    return checkpoint


def load_module(path: str | Path) -> RecordedModule:
    """Rebuilds the module of a checkpoint, with its tensors, on the CPU.

    Args:
        path: A checkpoint file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or not of lit-nas.
    """
    # Lightning's calls of jsonargparse are its own affair
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    from argparse import ArgumentError

    from pytorch_lightning.cli import instantiate_module  # brings in jsonargparse, which few users of this need

    checkpoint = read_checkpoint(path)
    record = checkpoint["lit_nas"]
    token = _rebuilding.set(record["init_args"])
    try:
        found = import_class(record["class_path"])
        if not issubclass(found, RecordedModule) or isabstract(found):
            raise ValueError(f"'{record['class_path']}' is not a module of lit-nas.")
        module = instantiate_module(found, dict(record["init_args"]))
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (ValueError, TypeError, KeyError, RuntimeError, ArgumentError) as error:
        raise ValueError(f"The module of '{path}' cannot be rebuilt: {error}") from error
    finally:
        _rebuilding.reset(token)
    return module
