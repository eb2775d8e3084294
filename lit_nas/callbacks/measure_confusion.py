"""How hard a network is to optimise, epoch by epoch."""

import json
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.atomic_write import write_text
from lit_nas.callbacks.confusion import confusion_of
from lit_nas.callbacks.expect import recorded
from lit_nas.optim import GradientConfusion
from lit_nas.record.plain import plain
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("CONFUSION", "MeasureConfusion")

CONFUSION = "confusion.json"
FORMAT, VERSION = "lit-nas confusion", 1


class MeasureConfusion(Callback):
    """Logs the gradient confusion of the weights after every n-th epoch and the last one, and writes `confusion.json`.

    Scalars: `confusion/mean` (zeta), `confusion/per_weight`, and `confusion/per_mebi` with weights counted in 2^20, as
    the table of StacNAS. Works with every search and with retraining, see `confusion_of`; nothing of it reaches the
    run. An estimate costs as many forward and backward passes as it has mini-batches.

    Args:
        estimator: How many mini-batches an estimate has.
        every: n; 0 measures after the last epoch alone.

    Raises:
        ValueError: if `every` is negative.
    """

    def __init__(self, estimator: GradientConfusion = GradientConfusion(), every: int = 1) -> None:
        if every < 0:
            raise ValueError(f"MeasureConfusion.every must not be negative, but is {every}.")
        self.estimator, self.every = estimator, every
        self._epochs: list[dict[str, Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the epochs that are behind the run, and drops those that it will train again."""
        path = run_folder(trainer) / CONFUSION
        self._epochs = []
        if writes(trainer) and trainer.current_epoch > 0 and path.exists():
            epochs = json.loads(path.read_text(encoding="utf-8"))["epochs"]
            self._epochs = [each for each in epochs if each["epoch"] < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures, if this epoch is one of those."""
        module, epoch = recorded(pl_module, self), trainer.current_epoch
        if epoch + 1 != trainer.max_epochs and (not self.every or (epoch + 1) % self.every):
            return
        found = confusion_of(trainer, module, trainer.train_dataloader, self.estimator, epoch)
        names = ("mean", "per_weight", "per_mebi")
        module.log_now({f"confusion/{name}": getattr(found, name) for name in names})
        self._epochs.append({"epoch": epoch, **found.plain()})
        if writes(trainer):
            content = {"format": FORMAT, "version": VERSION, "estimator": plain(self.estimator), "epochs": self._epochs}
            write_text(run_folder(trainer) / CONFUSION, json.dumps(content, indent=2) + "\n")
