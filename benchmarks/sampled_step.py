"""What a step of one path per edge costs: the search network against the same network built with these paths only.

Both run in one process and take turns, for several draws, each of which has a network built for it alone. A draw comes
back only after more others than an engine keeps plans for, so every sampled step makes new plans. A step is one of
first order: the gradient of the architecture with the weights frozen, then one step of the weights. Read the ratios.

    python benchmarks/sampled_step.py
    python benchmarks/sampled_step.py --channels 16 --cells 8 --size 32 --repeats 1
    python benchmarks/sampled_step.py --device cuda --channels 16 --cells 8 --size 32 --draws 16
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.engine import Engine, Fused, Reference
from lit_nas.held_memory import held_for_backward
from lit_nas.networks import SearchNetwork
from lit_nas.optim import DartsSGD, frozen, frozen_statistics
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec

ENGINES: dict[str, Engine] = {
    "reference": Reference(),
    "fused": Fused(),
    "fused-batched": Fused(batch_edges=True),
    "fused-checkpoint": Fused(checkpoint=True),
}
Draw = dict[str, tuple[int, ...]]
"""Cell type -> for each edge the column of its operation."""


class Search:
    """A network, an architecture, an optimiser and a fixed batch.

    Args:
        options: Sizes, from the command line.
        engine: What computes the cells.
        draw: The paths that the network is built with; None builds all.
    """

    def __init__(self, options: argparse.Namespace, engine: Engine, draw: Draw | None = None) -> None:
        torch.manual_seed(0)
        space = DartsSpace(init_channels=options.channels, num_cells=options.cells)
        if draw is not None:
            names = {kind: [[space.operations[column]] for column in columns] for kind, columns in draw.items()}
            space = DartsSpace(init_channels=options.channels, num_cells=options.cells, candidates=names)
        self.device, size = options.device, options.size
        self.network = SearchNetwork(space, ImageSpec(height=size, width=size), engine).to(self.device)
        self.architecture = Architecture(space, Softmax()).to(self.device)
        images = torch.randn(2, options.batch, 3, size, size, device=self.device)
        self.images = [batch.contiguous(memory_format=torch.channels_last) for batch in images]
        self.labels = torch.randint(0, 10, (options.batch,), device=self.device)
        self.weights, self.logits = list(self.network.parameters()), list(self.architecture.parameters())
        self.norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.optimizer = DartsSGD(self.weights)

    def loss(self, part: int, draw: Draw) -> Tensor:
        """Cross entropy of the paths of a draw, on the batch of the weights (0) or of the architecture (1)."""
        cells = {
            kind: CellMixture(logits.softmax(-1), tuple((column,) for column in draw[kind]))
            for kind, logits in self.architecture.logits.items()
        }
        mixture = [cells[kind] for kind in self.network.types]
        return F.cross_entropy(self.network(self.images[part], mixture), self.labels)

    def step(self, draw: Draw) -> None:
        """Both levels, each with the other one frozen, as `SearchModule` does."""
        with frozen(self.weights), frozen_statistics(self.norms):
            torch.autograd.grad(self.loss(1, draw), self.logits)
        self.optimizer.zero_grad()
        with frozen(self.logits):
            self.loss(0, draw).backward()
        self.optimizer.step()


def draws(options: argparse.Namespace) -> list[Draw]:
    """Paths with each operation equally often."""
    space, dice, found = DartsSpace(), random.Random(0), []
    for _ in range(options.draws):
        columns = [edge % len(space.operations) for edge in range(2 * len(space.cells["normal"].edges))]
        dice.shuffle(columns)
        half = len(columns) // 2
        found.append({"normal": tuple(columns[:half]), "reduce": tuple(columns[half:])})
    return found


def seconds(search: Search, draw: Draw) -> float:
    """What one step takes."""
    if search.device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    search.step(draw)
    if search.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def mebibytes(search: Search, draw: Draw) -> float:
    """What the loss keeps for its backward pass; on a GPU what a step takes at most on top of what was there."""
    gc.collect()
    if search.device != "cuda":
        return held_for_backward(lambda: search.loss(0, draw)) / 2**20
    search.optimizer.zero_grad()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    search.step(draw)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("batch", 64), ("size", 16), ("channels", 8), ("cells", 5), ("draws", 8), ("repeats", 5), ("threads", 2)
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--engines", nargs="+", default=["reference", "fused"], choices=sorted(ENGINES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = f"batch {options.batch}, {options.channels} channels, {options.cells} cells, {options.size}x{options.size}"
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {shape}, {options.draws} draws")
    print(f"{'':18}{'sampled s':>11}{'built s':>11}{'ratio':>8}{'sampled MiB':>13}{'built MiB':>11}{'ratio':>8}")
    for name in options.engines:
        paths = draws(options)
        every = Search(options, ENGINES[name])
        built = [Search(options, ENGINES[name], draw) for draw in paths]
        for draw, only in zip(paths, built, strict=True):  # warm up: kernels, momentum, what is known of candidates
            every.step(draw)
            only.step(draw)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.repeats):
            for draw, only in zip(paths, built, strict=True):
                times[0].append(seconds(every, draw))
                times[1].append(seconds(only, draw))
        ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
        held = [(mebibytes(every, draw), mebibytes(only, draw)) for draw, only in zip(paths, built, strict=True)]
        most = statistics.median(a / b for a, b in held)
        row = *map(statistics.median, times), ratio, *map(statistics.median, zip(*held, strict=True)), most
        print(f"{name:18}{row[0]:11.4f}{row[1]:11.4f}{row[2]:8.3f}{row[3]:13.1f}{row[4]:11.1f}{row[5]:8.3f}")
    print("MiB: held for the backward pass of one loss; on a GPU the most that a step adds to what was there.")


if __name__ == "__main__":
    main()
