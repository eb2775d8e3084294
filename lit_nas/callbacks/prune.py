"""Taking candidates out of a search permanently."""

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.callbacks.expect import search_of
from lit_nas.held_memory import WatchHeld
from lit_nas.pruning import Pruning
from lit_nas.record.plain import plain
from lit_nas.search import SearchModule

__all__ = ("Prune",)


class Prune(Callback):
    """Prunes candidates; a pruned one is never computed again, and nothing revives it.

    Masks are part of the checkpoint and are made from architecture parameters that all ranks share, so they survive a
    resume and agree under DDP. Logs `prune/active`, the number of active (edge, operation) pairs, at the end of each
    epoch, and what they cost: `cost/step_seconds`, the mean over the steps of the epoch, and `cost/activation_mib`, the
    most that a forward pass of the first step of the epoch keeps for its backward pass. It runs no pass of its own: a
    CUDA graph that is replayed keeps what it kept when it was captured.

    Args:
        policy: What is pruned, and when.
    """

    def __init__(self, policy: Pruning = Pruning()) -> None:
        self.policy = policy
        self._began, self._ended, self._steps = 0.0, 0.0, 0
        self._held: int | None = None
        self._watch: WatchHeld | None = None

    def record(self) -> dict[str, Any]:
        """The policy, which a run that continues must have."""
        found: dict[str, Any] = plain(self.policy)
        return found

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Announces that weights of pruned candidates will have no gradient."""
        search_of(pl_module, self).leaves_weights_unused = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begins to measure what a step costs, before the first step of an epoch."""
        if not self._steps:
            self._watch = WatchHeld(search_of(pl_module, self).network)
            self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prunes after a step, if that was asked for; only then does a step wait for the device."""
        self._stop_watch()
        if self.policy.every == "step":
            self._prune(search_of(pl_module, self))
        self._steps += 1
        if trainer.is_last_batch:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
            self._ended = time.monotonic()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves no hook behind in the network."""
        self._stop_watch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prunes after an epoch, and logs how many candidates are active and what a step costs."""
        search = search_of(pl_module, self)
        if self.policy.every == "epoch":
            self._prune(search)
        values: dict[str, Tensor | float] = {"prune/active": float(search.architecture.count_active())}
        if self._steps:
            values["cost/step_seconds"] = (self._ended - self._began) / self._steps
        if self._held is not None:
            values["cost/activation_mib"] = self._held / 2**20
        search.log_now(values)
        self._steps = 0

    def _prune(self, search: SearchModule) -> None:
        if search.current_epoch < self.policy.from_epoch:
            return
        architecture = search.architecture
        weights = architecture.probabilities()
        for name, cell in architecture.space.cells.items():
            mask, logits = architecture.mask(name).cpu(), architecture.logits[name].detach().double().cpu()
            if logits.shape != mask.shape:  # parameters of something else than candidates
                logits = weights[name].log()
            keep = self.policy.keep(cell, weights[name], logits, mask)
            if not torch.equal(keep, mask):  # nothing is thrown away that would have to be made anew
                architecture.prune(name, keep)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            held = self._watch.stop()
            self._held, self._watch = self._held if held is None else held, None
