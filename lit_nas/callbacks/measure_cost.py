"""What a run costs."""

import json
import sys
import time
from platform import machine
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.atomic_write import write_text
from lit_nas.callbacks.expect import recorded
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("MeasureCost",)


def _peak_memory(device: torch.device) -> float | None:
    """Peak memory in GiB: of a CUDA device since the fit began, else of the whole process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:  # Windows does not say
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # bytes there, KiB elsewhere


class MeasureCost(Callback):
    """Logs `cost/seconds`, `cost/device_hours` and `cost/peak_memory_gib`; `cost.json` names the device beside them.

    Seconds are those of training and validation together, over all interruptions; device-hours multiply them by the
    number of devices. Peak memory is that of rank zero: of its GPU since the fit began, or of its process on a CPU,
    which includes what it did before.
    """

    def __init__(self) -> None:
        self._before = 0.0  # seconds of the run before its last interruption
        self._start: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + (0.0 if self._start is None else time.monotonic() - self._start)

    def state_dict(self) -> dict[str, Any]:
        """Seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the seconds before the interruption, to which those of this process are added."""
        self._before = float(state_dict["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count seconds and peak memory, now that setting up is over."""
        self._start = time.monotonic()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the cost so far and writes it to `cost.json`, once per epoch."""
        values = self.values(trainer, pl_module.device)
        recorded(pl_module, self).log_now(
            {f"cost/{name}": value for name, value in values.items() if value is not None}
        )
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the final values to `cost.json` and ends the count of seconds."""
        self._before, self._start = self.seconds, None
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writes(trainer):
            device = pl_module.device
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({machine()})"
            content = {**self.values(trainer, device), "device": name, "devices": trainer.world_size}
            write_text(run_folder(trainer) / "cost.json", json.dumps(content, indent=2) + "\n")

    def values(self, trainer: Trainer, device: torch.device) -> dict[str, float | None]:
        """The cost so far by name; None where the machine does not say.

        Args:
            trainer: Of the run.
            device: What this process trains on.
        """
        return {
            "seconds": self.seconds,
            "device_hours": self.seconds * trainer.world_size / 3600,
            "peak_memory_gib": _peak_memory(device),
        }
