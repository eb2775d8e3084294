"""The random state of every process, in every checkpoint."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ("KeepRandomState", "collect", "restore")


def collect(device: torch.device = torch.device("cpu")) -> dict[str, Any]:
    """State of the generators of Python, NumPy and torch in this process, as builtins and tensors.

    Args:
        device: What the process trains on. Of several GPUs only this one is asked: the others are other processes',
            and looking at their generators would take memory there.
    """
    version, words, gauss = random.getstate()
    numbers: Any = np.random.get_state()  # noqa: NPY002 - the state of others' code
    name, keys, position, has_gauss, cached = numbers
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: dict[str, Any], device: torch.device = torch.device("cpu")) -> None:
    """Sets the generators of this process to what `collect` returned.

    Args:
        state: From a process on any device; generators that this process does not use are left out.
        device: What the process trains on.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


class KeepRandomState(Callback):
    """Saves the random state of all processes and restores it before the first batch after a resume.

    Order and augmentation of lit-nas's data do not depend on this state; dropped paths, sampled operations and
    whatever a user's own code draws do.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None
        self._states: list[dict[str, Any]] | None = None
        self._device = torch.device("cpu")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remembers the device of this process."""
        self._device = trainer.strategy.root_device

    def state_dict(self) -> dict[str, Any]:
        """Random states of all ranks; called on all of them."""
        states = [collect(self._device)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(states, collect(self._device))
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the random states; `on_train_batch_start` sets them, when nothing else draws before the step."""
        self._states = state_dict["ranks"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the state of this rank.

        Raises:
            ValueError: if the checkpoint was written by another number of processes.
        """
        if self._states is None:
            return
        if len(self._states) != trainer.world_size:
            raise ValueError(
                f"The checkpoint was written by {len(self._states)} processes and cannot be continued exactly by "
                f"{trainer.world_size}. Use trainer.devices and trainer.num_nodes as before."
            )
        self._pending, self._states = self._states[trainer.global_rank], None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores the random state before the first step, once."""
        if self._pending is not None:
            restore(self._pending, self._device)
            self._pending = None
