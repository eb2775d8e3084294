"""Learning rates of a run, one point per epoch."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.callbacks.expect import recorded

__all__ = ("LogLearningRates",)

LEVELS = ("weights", "arch")


class LogLearningRates(Callback):
    """Logs `lr/weights` and, in a search, `lr/arch` after each epoch: the rates of the last step of that epoch.

    Further parameter groups of an optimiser are `lr/weights/1` and so on.
    """

    def __init__(self) -> None:
        self._rates: dict[str, Any] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Reads the rates of this step, because schedules change them before the hooks at the end of an epoch."""
        self._rates = {
            f"lr/{LEVELS[index] if index < len(LEVELS) else index}" + (f"/{number}" if number else ""): group["lr"]
            for index, optimizer in enumerate(trainer.optimizers)
            for number, group in enumerate(optimizer.param_groups)
        }

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the learning rates that the last step of the epoch used."""
        if self._rates:
            recorded(pl_module, self).log_now(self._rates)
