"""The settings of a run, in its loggers."""

import os
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info

from lit_nas.internals import data_of
from lit_nas.record.names import public_name
from lit_nas.record.plain import plain
from lit_nas.specs import Spec

__all__ = ("LogSettings",)


class LogSettings(Callback):
    """Hands the whole configuration of a fit and its global batch to all loggers, and says how large the batch is.

    Lightning logs the arguments of the model only. Without a configuration, which the command line passes, this logs
    what the Trainer knows: the arguments of the model, the attributes of the data and the settings of the Trainer.

    Args:
        configuration: The resolved configuration as plain data; None takes it from the Trainer.
    """

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        self.configuration = configuration

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs before Lightning does: TensorBoard shows the first record."""
        batches = _global_batches(trainer)
        if trainer.enable_autolog_hparams:
            settings = _known(trainer, pl_module) if self.configuration is None else self.configuration
            for logger in trainer.loggers:
                logger.log_hyperparams({**settings, "global_batch": batches})
        if "weights" in batches:
            spec = getattr(pl_module, "spec", None)
            samples = spec.samples if isinstance(spec, Spec) else Spec.samples
            _say_batch(trainer, samples, batches["weights"], getattr(pl_module, "paper_batch_size", None))


def _say_batch(trainer: Trainer, samples: str, batch: int, paper: int | None) -> None:
    """Says how large a batch is, where it is not the paper's or made by several processes."""
    if trainer.world_size == 1 and paper in (None, batch):
        return
    times = f" x {trainer.world_size} processes" if trainer.world_size > 1 else ""
    if trainer.accumulate_grad_batches > 1:
        times += f" x {trainer.accumulate_grad_batches} accumulated"
    size = getattr(data_of(trainer), "batch_size", None)
    how = f"{size} per process{times} = {batch}" if times else str(batch)
    belongs = f"; the learning rates of the paper belong to {paper}" if paper not in (None, batch) else ""
    rank_zero_info(f"{samples.capitalize()} in each step: {how}{belongs}.")


def _global_batches(trainer: Trainer) -> dict[str, int]:
    """Samples of each role in one step, over all processes; empty for data that do not say."""
    data = data_of(trainer)
    size, roles = getattr(data, "batch_size", None), getattr(data, "roles", ())
    steps = trainer.accumulate_grad_batches * trainer.world_size
    return {} if size is None else {role: size * steps for role in ("weights", "arch") if role in roles}


def _known(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """What a run that was put together in Python tells of itself."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "seed_everything": None if seed is None else int(seed),
        "model": {"class_path": public_name(type(module)), "init_args": dict(module.hparams)},
        "data": None if data_of(trainer) is None else _data(data_of(trainer)),
        "trainer": {
            "max_epochs": trainer.max_epochs,
            "max_steps": trainer.max_steps,
            "precision": trainer.precision,
            "accelerator": type(trainer.accelerator).__name__,
            "strategy": type(trainer.strategy).__name__,
            "devices": trainer.num_devices,
            "num_nodes": trainer.num_nodes,
            "limit_train_batches": trainer.limit_train_batches,
            "limit_val_batches": trainer.limit_val_batches,
            "default_root_dir": trainer.default_root_dir,
        },
    }


def _data(data: Any) -> dict[str, Any]:
    """The public attributes of a data module that are plain; lit-nas keeps arguments under their names."""
    found = {}
    for name, value in vars(data).items():
        try:
            if not name.startswith("_") and name not in _OF_LIGHTNING:
                found[name] = plain(value)
        except TypeError:  # tensors and what else is no setting
            continue
    return {"class_path": public_name(type(data)), "init_args": found}


_OF_LIGHTNING = ("trainer", "prepare_data_per_node", "allow_zero_length_dataloader_with_multiple_devices", "parts")
