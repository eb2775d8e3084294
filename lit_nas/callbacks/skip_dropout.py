"""Dropout after skip connections, for any search."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from lit_nas.callbacks.expect import search_of
from lit_nas.clock import Moment
from lit_nas.record.plain import plain
from lit_nas.schedules import Schedule
from lit_nas.search import DroppedSkip, drop_skips, restore_skips

__all__ = ("SkipDropout",)


class SkipDropout(Callback):
    """Drops elements behind each skip connection of stride 1 while a search trains, see `DroppedSkip`.

    Works with every method and with every kind of edge that has its skip connections as modules; where the rate is 0
    in all epochs, there is none. Logs the rate of each epoch as `skip_dropout/rate`.

    Args:
        rate: Chance of each element over the search, in [0, 1).
    """

    def __init__(self, rate: Schedule) -> None:
        self.rate = rate
        self._before: list[nn.Module] = []

    def record(self) -> dict[str, Any]:
        """The rate, which a run that continues must have."""
        return {"rate": plain(self.rate)}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Puts the dropout in before the first step.

        Raises:
            ValueError: if the rate leaves [0, 1) in an epoch, or a skip connection is no module of its own.
        """
        search = search_of(pl_module, self)
        if stage != "fit":
            return
        epochs = max(trainer.max_epochs or 1, 1)
        rates = [float(self.rate(Moment(epoch, epoch, epochs, epochs))) for epoch in range(epochs)]
        for epoch, rate in enumerate(rates):
            if not 0.0 <= rate < 1.0:
                raise ValueError(
                    f"The rate of SkipDropout must be in [0, 1), but {self.rate} makes {rate:.4g} of it in epoch "
                    f"{epoch} of {epochs}."
                )
        present = [part for part in search.network.modules() if isinstance(part, DroppedSkip)]
        if any(rates) and present and all(part.schedule == self.rate for part in present):
            return  # a method has put it in itself
        self._before = drop_skips(search.network, search.architecture, self.rate if any(rates) else None)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves the network as it was."""
        self._restore(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the network as it was."""
        self._restore(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the rate that the last step had."""
        search = search_of(pl_module, self)
        search.log_now({"skip_dropout/rate": float(self.rate(search.architecture.clock.moment()))})

    def _restore(self, pl_module: LightningModule) -> None:
        if self._before:
            restore_skips(search_of(pl_module, self).network, self._before)
            self._before = []
