"""What the package uses of Lightning and torch beyond their public interfaces, each named here and tested once.

An upgrade that moves one of them fails a test that says which. Functions read or set; `OVERRIDDEN` lists the methods
that subclasses replace or call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

if TYPE_CHECKING:  # descriptions and pictures do without Lightning
    from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
    from pytorch_lightning.loggers import WandbLogger
    from pytorch_lightning.strategies import Strategy

__all__ = (
    "OVERRIDDEN",
    "BatchNormKind",
    "NormKind",
    "batches_of_epoch",
    "batches_that_stepped",
    "callbacks_of",
    "children_of",
    "data_of",
    "expect_unused_parameters",
    "hooks_of",
    "is_attached",
    "is_followed",
    "is_rank_zero",
    "is_trial",
    "is_view",
    "keep_out_of_ddp",
    "layer_sync_of",
    "log_interval",
    "overfits",
    "parameters_of",
    "put_first",
    "record_arguments",
    "set_layer_sync",
    "start_of_wandb",
)

BatchNormKind = _BatchNorm
"""What all BatchNorms have in common, of any number of dimensions."""
NormKind = _NormBase
"""What all norms with running statistics have in common."""
OVERRIDDEN: Mapping[str, tuple[str, ...]] = {
    "pytorch_lightning.cli.LightningCLI": ("_get", "_instantiate_trainer", "_parse_ckpt_path", "_parser", "_set_seed"),
    "pytorch_lightning.callbacks.RichProgressBar": ("_get_train_description", "_init_progress", "_stop_progress"),
    "pytorch_lightning.loggers.csv_logs.ExperimentWriter": ("_check_log_dir_exists",),
    "torch.nn.Module": ("_apply",),
}
"""Class -> methods without a promise that subclasses in this package replace or call."""


def data_of(trainer: Trainer) -> LightningDataModule | None:
    """The data module of a Trainer, which has no such attribute before it runs; None for loaders of the user's own."""
    return getattr(trainer, "datamodule", None)


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a Trainer, in the order in which they are called."""
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def put_first(trainer: Trainer, callback: Callback) -> None:
    """Adds a callback to those of a Trainer that is called before all others."""
    trainer.callbacks.insert(0, callback)  # type: ignore[attr-defined]


def is_trial(trainer: Trainer) -> bool:
    """Whether a run is a trial of a few batches that leaves nothing behind (`fast_dev_run`)."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def overfits(trainer: Trainer) -> bool:
    """Whether a run trains and validates on the same few batches (`overfit_batches`)."""
    return bool(trainer.overfit_batches)  # type: ignore[attr-defined]


def log_interval(trainer: Trainer) -> int:
    """How many batches lie between two steps that are logged; 0 logs no steps (`log_every_n_steps`)."""
    return trainer.log_every_n_steps  # type: ignore[attr-defined]


def is_rank_zero() -> bool:
    """Whether this process is the first one, or is to become it."""
    from pytorch_lightning.utilities import rank_zero_only

    return vars(rank_zero_only)["rank"] == 0


def batches_that_stepped(trainer: Trainer) -> int:
    """Batches of the whole run after which an optimiser stepped: the x-axis of Lightning's own curves."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def batches_of_epoch(trainer: Trainer) -> int:
    """Batches of the present epoch that are finished."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]


def is_followed(trainer: Trainer) -> bool:
    """Whether a validation or the end of the epoch follows the present batch, in its hook `on_train_batch_end`.

    A validation after each batch does not count, as there would be no other batch.
    """
    if trainer.is_last_batch or trainer.val_check_batch == 1:
        return trainer.is_last_batch
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None  # of a run
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def is_attached(module: LightningModule) -> bool:
    """Whether a Trainer runs the module."""
    return module._trainer is not None


def record_arguments(module: LightningModule | LightningDataModule, arguments: Mapping[str, Any]) -> None:
    """Lets `hparams` be these arguments, which loggers and checkpoints get."""
    from pytorch_lightning.utilities.parsing import AttributeDict

    module._hparams = AttributeDict(arguments)
    module._hparams_initial = AttributeDict(arguments)  # type: ignore[union-attr]  # of a mixin that both have
    module._log_hyperparams = True


def start_of_wandb(logger: WandbLogger) -> dict[str, Any]:
    """Arguments with which Lightning's logger will start a run of Weights & Biases."""
    return logger._wandb_init


def expect_unused_parameters(strategy: Strategy) -> None:
    """Lets DDP cope with parameters that a step leaves without a gradient."""
    vars(strategy)["_ddp_kwargs"]["find_unused_parameters"] = True


def keep_out_of_ddp(module: LightningModule, names: Iterable[str]) -> None:
    """Keeps parameters and buffers of these names out of DDP's synchronisation."""
    module._ddp_params_and_buffers_to_ignore = list(names)  # type: ignore[assignment]  # DDP looks for the attribute


def layer_sync_of(strategy: Strategy) -> Any:
    """What a strategy does about BatchNorm when `sync_batchnorm` is set, None where it is not or cannot be."""
    return getattr(strategy, "_layer_sync", None)


def set_layer_sync(strategy: Strategy, value: Any) -> None:
    """Replaces what a strategy does about BatchNorm."""
    strategy._layer_sync = value  # type: ignore[attr-defined]


def is_view(tensor: Tensor) -> bool:
    """Whether autograd knows a tensor as a part of another one."""
    return tensor._is_view()


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """The parameters that a module itself holds, without looking through attributes."""
    return module._parameters


def children_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """The modules that a module itself holds."""
    return module._modules


def hooks_of(module: nn.Module) -> tuple[dict[int, Any], ...]:
    """All hooks that something has registered with a module."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
