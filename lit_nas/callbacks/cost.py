"""What a run costs."""

import json
import sys
import time
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from lit_nas.callbacks.folder import run_folder, write_text, writes
from lit_nas.module import RecordedModule

__all__ = ("MeasureCost",)


def _peak_memory() -> float | None:
    """Peak memory in GiB: of the device where that is CUDA, else of the process; None where the system does not say."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # bytes there, KiB elsewhere


class MeasureCost(Callback):
    """Logs `cost/seconds`, `cost/device_hours` and `cost/peak_memory_gib`, and writes them to `cost.json`.

    Seconds are those of training and validation together, over all interruptions; device-hours multiply them by the
    number of devices. Peak memory is that of rank zero.
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
        """Goes on counting."""
        self._before = float(state_dict["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: RecordedModule) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: RecordedModule) -> None:
        """Logs and writes."""
        values = self._values(trainer)
        pl_module.log_now({f"cost/{name}": value for name, value in values.items() if value is not None})
        if writes(trainer):
            write_text(run_folder(trainer) / "cost.json", json.dumps(values, indent=2) + "\n")

    def on_train_end(self, trainer: Trainer, pl_module: RecordedModule) -> None:
        """Writes the final values and stops the clock."""
        if writes(trainer):
            write_text(run_folder(trainer) / "cost.json", json.dumps(self._values(trainer), indent=2) + "\n")
        self._before, self._start = self.seconds, None

    def _values(self, trainer: Trainer) -> dict[str, float | None]:
        return {
            "seconds": self.seconds,
            "device_hours": self.seconds * trainer.world_size / 3600,
            "peak_memory_gib": _peak_memory(),
        }
