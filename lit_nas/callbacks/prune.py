"""Taking candidates out of a search for good."""

import time
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from lit_nas.memory import held_for_backward
from lit_nas.optim import frozen_statistics
from lit_nas.pruning import Pruning
from lit_nas.recipe import plain

if TYPE_CHECKING:
    from lit_nas.search import SearchModule

__all__ = ("Prune",)


class Prune(Callback):
    """Prunes candidates; a pruned one is never computed again, and nothing revives it.

    Masks are part of the checkpoint and are made from architecture parameters that all ranks share, so they survive a
    resume and agree under DDP. Logs `prune/active`, the number of living (edge, operation) pairs, at the end of each
    epoch, and what they cost: `cost/step_seconds`, the mean over the steps of the epoch, and `cost/activation_mib`,
    what the first forward pass of the epoch keeps for its backward pass.

    Args:
        policy: What is pruned, and when.
    """

    def __init__(self, policy: Pruning = Pruning()) -> None:
        self.policy = policy
        self._began, self._ended, self._steps = 0.0, 0.0, 0
        self._held: int | None = None

    def record(self) -> dict[str, Any]:
        """The policy, which a run that continues must have."""
        return plain(self.policy)

    def setup(self, trainer: Trainer, pl_module: "SearchModule", stage: str) -> None:
        """Announces that weights of pruned candidates will have no gradient."""
        pl_module.leaves_weights_unused = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: "SearchModule", batch: Any, batch_idx: int) -> None:
        """Measures what a forward pass keeps, once an epoch."""
        if batch_idx == 0 and hasattr(pl_module, "loss"):
            self._held = self._measure(trainer, pl_module, batch["weights"])
        if not self._steps:
            self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: "SearchModule", outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prunes after a step."""
        if self.policy.every == "step":
            self._prune(pl_module)
        self._steps += 1
        if trainer.is_last_batch:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
            self._ended = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: "SearchModule") -> None:
        """Prunes after an epoch, and logs."""
        if self.policy.every == "epoch":
            self._prune(pl_module)
        values = {"prune/active": float(pl_module.architecture.count_active())}
        if self._steps:
            values["cost/step_seconds"] = (self._ended - self._began) / self._steps
        if self._held is not None:
            values["cost/activation_mib"] = self._held / 2**20
        pl_module.log_now(values)
        self._steps = 0

    def _prune(self, pl_module: "SearchModule") -> None:
        if pl_module.current_epoch < self.policy.from_epoch:
            return
        architecture = pl_module.architecture
        weights = architecture.probabilities()
        for name, cell in architecture.space.cells.items():
            mask, logits = architecture.mask(name).cpu(), architecture.logits[name].detach().double().cpu()
            keep = self.policy.keep(cell, weights[name], logits, mask)
            if not torch.equal(keep, mask):  # nothing is thrown away that would have to be made anew
                architecture.prune(name, keep)

    @staticmethod
    def _measure(trainer: Trainer, pl_module: Any, pair: tuple[Tensor, Tensor]) -> int:
        """Bytes that a forward pass keeps; it leaves running statistics and random numbers as they were."""
        part = -(-len(pair[1]) // pl_module.optim.accumulate)  # as many images as a step holds at a time
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        context = trainer.precision_plugin.forward_context()
        with context, torch.random.fork_rng(devices), frozen_statistics(list(pl_module.network.modules())):
            return held_for_backward(lambda: pl_module.loss((pair[0][:part], pair[1][:part])))
