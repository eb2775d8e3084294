"""Random channels for partial channel connections."""

from math import isfinite
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.callbacks.expect import search_of
from lit_nas.edges import RandomChannels
from lit_nas.relaxations.draw import generator_of

__all__ = ("DrawChannels",)


class DrawChannels(Callback):
    """Draws for each step which channels the candidates of each edge see (`PartialChannels` with `choice: random`).

    What is drawn follows from the seed of the architecture, the step and the number of the edge, so it is the same on
    all processes, in all passes of a step, and when a run continues.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Draws, and copies all that was drawn to the device at once."""
        module, batches = search_of(pl_module, self), trainer.num_training_batches
        edges = [each for each in module.network.modules() if isinstance(each, RandomChannels)]
        if not edges:
            return
        step = trainer.fit_loop.epoch_loop.total_batch_idx
        if isfinite(batches):  # as the clock of the search counts
            step = trainer.current_epoch * int(batches) + batch_idx
        generator = generator_of(module.architecture.host_seed, step, "channels")
        sizes = [len(edge.order) for edge in edges]
        drawn = torch.cat([torch.randperm(size, generator=generator) for size in sizes])
        for edge, order in zip(edges, drawn.to(edges[0].order.device, non_blocking=True).split(sizes), strict=True):
            edge.order.copy_(order)
