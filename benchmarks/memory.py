"""What the methods of one family need, against DARTS: memory held for the backward pass, and time, of both steps.

All methods search the same network on the fused engine, in one process, and take turns, so that a busy machine slows
all alike. A step of the weights is the loss with the architecture frozen, its gradient, and a step of SGD; a step of
the architecture is the loss with the weights and the statistics of BatchNorm frozen, and its gradient. Where a method
samples, each step has another sample. Held memory is that of the forward pass, each storage counted once, parameters
included; of samples it is the mean over several. CPU seconds are those of all threads: on a busy machine they say more
than the clock. The first method, DARTS unless another one is named first, is 1.

    python benchmarks/memory.py
    python benchmarks/memory.py --batch 64 --repeats 5 --methods DARTS PCDARTS GDAS
    python benchmarks/memory.py --methods GDAS ProxylessNAS PARSEC   # against one path per edge
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from lit_nas.edges import MergedConvolutions
from lit_nas.engine import Engine, Fused
from lit_nas.held_memory import held_for_backward
from lit_nas.methods import DARTS, GDAS, PARSEC, PCDARTS, SNAS, DropNAS, MergeNAS, ProxylessNAS, StacNAS
from lit_nas.optim import DartsSGD, frozen, frozen_statistics
from lit_nas.search import SearchModule
from lit_nas.spaces import DARTS_OPERATIONS, STACNAS_S1, DartsSpace
from lit_nas.specs import ImageSpec

FIRST = (*STACNAS_S1.keys, "none")
Make = Callable[[ImageSpec, DartsSpace, Engine], SearchModule]
"""Makes a search of its spec, space and engine."""
METHODS: dict[str, Make] = {
    "DARTS": lambda spec, space, engine: DARTS(spec, space, engine=engine),
    "PCDARTS": lambda spec, space, engine: PCDARTS(spec, space, engine=engine),
    "GDAS": lambda spec, space, engine: GDAS(spec, space, engine=engine),
    "SNAS": lambda spec, space, engine: SNAS(spec, space, drop_path=None, engine=engine),
    "ProxylessNAS": lambda spec, space, engine: ProxylessNAS(spec, space, engine=engine),
    "ProxylessNAS all paths": lambda spec, space, engine: ProxylessNAS(spec, space, paths="all", engine=engine),
    "PARSEC": lambda spec, space, engine: PARSEC(spec, replace(space, operations=DARTS_OPERATIONS[1:]), engine=engine),
    "MergeNAS": lambda spec, space, engine: MergeNAS(spec, space, engine=engine),
    "MergeNAS folded": lambda spec, space, engine: MergeNAS(spec, space, MergedConvolutions(fold=True), engine=engine),
    "DropNAS": lambda spec, space, engine: DropNAS(spec, space, engine=engine),
    "StacNAS, first stage": lambda spec, space, engine: StacNAS(spec, replace(space, operations=FIRST), engine=engine),
}
"""Rows of the table, the one that they are compared with first; a new method of the family is a line."""
LEVELS = ("weights", "arch")


@dataclass
class Found:
    """What was measured of a step."""

    held: list[float] = field(default_factory=list)
    """MiB."""
    clock: list[float] = field(default_factory=list)
    """Seconds."""
    processors: list[float] = field(default_factory=list)
    """CPU seconds of all threads."""

    def values(self) -> tuple[float, float, float]:
        """Mean memory and median times."""
        return statistics.fmean(self.held), statistics.median(self.clock), statistics.median(self.processors)


class Search:
    """A method with an optimiser and fixed batches.

    Args:
        make: The method.
        options: Sizes, from the command line.
    """

    def __init__(self, make: Make, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device, size = options.device, options.size
        space = DartsSpace(init_channels=options.channels, num_cells=options.cells)
        self.module = make(ImageSpec(3, size, size, 10), space, Fused()).to(self.device).train()
        images = torch.randn(2, options.batch, 3, size, size, device=self.device)
        images = [batch.contiguous(memory_format=torch.channels_last) for batch in images]
        labels = torch.randint(0, 10, (options.batch,), device=self.device)
        self.batches = dict(zip(LEVELS, ((batch, labels) for batch in images), strict=True))
        self.weights, self.logits = self.module.weights, list(self.module.architecture.parameters())
        self.optimizer, self.step = DartsSGD(self.weights, lr=1e-4), 0  # so small that no loss runs away

    def draw(self) -> None:
        """Begins the next step, which samples something else."""
        clock = self.module.architecture.clock
        clock.start(1000, 10)
        clock.set(self.step, self.step / 100)
        self.step += 1

    def held(self, level: str) -> float:
        """MiB that the loss of a level keeps for its backward pass."""
        gc.collect()
        with self._level(level):
            return held_for_backward(lambda: self.module.loss(self.batches[level])) / 2**20

    def run(self, level: str) -> None:
        """One step of a level."""
        if level == "arch":
            with self._level(level):
                loss = self.module.loss(self.batches[level])
                if loss.requires_grad:  # a prior learns from losses alone
                    torch.autograd.grad(loss, self.logits)
            return
        self.optimizer.zero_grad()
        with self._level(level):
            self.module.loss(self.batches[level]).backward()
        self.optimizer.step()

    def timed(self, level: str) -> tuple[float, float]:
        """Seconds and CPU seconds of a step."""
        self._wait()
        clock, processors = time.perf_counter(), time.process_time()
        self.run(level)
        self._wait()
        return time.perf_counter() - clock, time.process_time() - processors

    @contextmanager
    def _level(self, level: str) -> Iterator[None]:
        """Holds the other level still, as `SearchModule` does, and draws."""
        others = self.logits if level == "weights" else self.weights
        norms = () if level == "weights" else self.module.norms
        with frozen(others), frozen_statistics(norms), self.module.architecture.drawing(level):
            yield

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def measure(options: argparse.Namespace) -> dict[tuple[str, str], Found]:
    """Lets the methods take turns; the first turn warms up and is thrown away."""
    searches = {name: Search(METHODS[name], options) for name in options.methods}
    found = {(name, level): Found() for name in searches for level in LEVELS}
    for turn in range(options.repeats + 1):
        for name, search in searches.items():
            search.draw()
            for level in LEVELS:
                if not turn:
                    search.run(level)
                    continue
                known = found[name, level]
                if search.module.architecture.samples or not known.held:
                    known.held.append(search.held(level))
                clock, processors = search.timed(level)
                known.clock.append(clock)
                known.processors.append(processors)
    return found


def main() -> None:
    """Measures and prints a table for each level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 16), ("size", 32), ("channels", 16), ("cells", 8), ("repeats", 7), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(options)
    shape = f"batch {options.batch}, {options.channels} channels, {options.cells} cells, {options.size}x{options.size}"
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {shape}, {options.repeats} repeats")
    heads = {"step": 10, "held MiB": 11, "of first": 10, "seconds": 10, "speed": 9, "CPU s": 10, "CPU speed": 11}
    print(f"{'method':24}" + "".join(f"{head:>{width}}" for head, width in heads.items()))
    for level in LEVELS:
        held, clock, processors = found[options.methods[0], level].values()
        for name in options.methods:
            ours = found[name, level].values()
            print(
                f"{name:24}{level:>10}{ours[0]:11.1f}{ours[0] / held:9.2f}x{ours[1]:10.4f}{clock / ours[1]:8.2f}x"
                f"{ours[2]:10.4f}{processors / ours[2]:10.2f}x"
            )


if __name__ == "__main__":
    main()
