"""How long modules take: medians over repeats, on the machine that this process runs on."""

import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lit_nas.networks.latency import LatencyTable, Piece

__all__ = ("Stopwatch",)


@dataclass(frozen=True)
class Stopwatch:
    """How a module is measured: it runs in evaluation mode on random images, and the median of its times counts.

    Raises:
        ValueError: if a number is out of range or the device unknown.
    """

    warm_up: int = 10
    """Runs before those that count."""
    repeats: int = 50
    """Runs that count."""
    threads: int = 1
    """Threads of the CPU."""
    batch_size: int = 1
    """Images of each run."""
    device: str = "cpu"
    """`cpu`, or a device of torch such as `cuda`."""

    def __post_init__(self) -> None:
        for name, least in (("warm_up", 0), ("repeats", 1), ("threads", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, not {getattr(self, name)}.")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # the latter of builds without CUDA
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ValueError(f"--device {self.device} cannot be used here: {reason}.") from error

    def measure(self, pieces: Iterable[Piece]) -> LatencyTable:
        """Times each piece, those of the same key once.

        Args:
            pieces: Of a search network.
        """
        found: dict[str, float] = {}
        with self._threads(), torch.inference_mode():
            for piece in pieces:
                if piece.key not in found:
                    found[piece.key] = round(self._milliseconds(piece), 6)
        return LatencyTable(found, {"machine": self._machine(), "measured": asdict(self)})

    def _milliseconds(self, piece: Piece) -> float:
        module = piece.module.to(self.device).eval()
        inputs = [torch.randn(self.batch_size, *shape, device=self.device) for shape in piece.shapes]
        times = []
        for run in range(self.warm_up + self.repeats):
            self._wait()
            start = time.perf_counter()
            module(*inputs)
            self._wait()
            if run >= self.warm_up:
                times.append(time.perf_counter() - start)
        return 1000 * median(times)

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _machine(self) -> dict[str, Any]:
        gpu = self.device.startswith("cuda")
        return {
            "processor": torch.cuda.get_device_name(self.device) if gpu else _processor(),
            "system": platform.platform(),
            "torch": str(torch.__version__),
        }


def _processor() -> str:
    """The name that the processor gives itself, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
