"""Time and memory of one search step: engine x order x precision, interleaved in one process.

The first row is what the others are compared with: the network as it is commonly written (contiguous layout, one
module after the other) with `loss.backward()` for both levels. Rows take turns, so that a busy machine slows all of
them alike; read the ratios.

    python benchmarks/search_step.py
    python benchmarks/search_step.py --batch 16 --size 16 --repeats 5 --engines fused
    python benchmarks/search_step.py --sparse
    python benchmarks/search_step.py --device cuda --precisions float32 bfloat16
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.engine import Engine, Fused, Reference
from lit_nas.held_memory import held_for_backward
from lit_nas.networks import SearchNetwork
from lit_nas.optim import DartsAdam, DartsSGD, frozen, frozen_statistics, unrolled_gradient
from lit_nas.relaxations import Entmax, Relaxation, Softmax
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec

ENGINES: dict[str, Engine] = {
    "reference": Reference(),
    "fused": Fused(),
    "fused-single": Fused(batch_edges=False),
    "fused-batched": Fused(batch_edges=True),
    "fused-checkpoint": Fused(checkpoint=True),
    "fused-compiled": Fused(compile=True),
    "fused-single-compiled": Fused(compile=True, batch_edges=False),
}


class Search:
    """A network, an architecture, their optimisers and a fixed batch.

    Args:
        options: Sizes, from the command line.
        engine: What computes the cells.
        channels_last: Layout of the images.
        precision: `float32`, or a dtype for autocast.
        relaxation: How candidates are weighted.
        quarter: Whether all but two of eight candidates of each edge are pruned, each kind equally often.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        engine: Engine,
        channels_last: bool,
        precision: str = "float32",
        relaxation: Relaxation = Softmax(),
        quarter: bool = False,
    ) -> None:
        torch.manual_seed(0)
        space, size = DartsSpace(init_channels=options.channels, num_cells=options.cells), options.size
        self.device = options.device
        self.network = SearchNetwork(space, ImageSpec(height=size, width=size), engine).to(self.device)
        self.architecture = Architecture(space, relaxation).to(self.device)
        for name, cell in space.cells.items() if quarter else ():
            edge, column = torch.meshgrid(*(torch.arange(n) for n in self.architecture.mask(name).shape), indexing="ij")
            self.architecture.prune(name, column // 2 == edge % (len(cell.operations) // 2))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = torch.randn(2, options.batch, 3, size, size, device=self.device)
        self.images = [batch.contiguous(memory_format=layout) for batch in images]
        self.labels = torch.randint(0, 10, (options.batch,), device=self.device)
        self.weights, self.logits = list(self.network.parameters()), list(self.architecture.parameters())
        self.norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.weights_optimizer, self.arch_optimizer = DartsSGD(self.weights), DartsAdam(self.logits)
        self.dtype = None if precision == "float32" else getattr(torch, precision)

    def loss(self, part: int) -> Tensor:
        """Cross entropy on the batch of the weights (0) or of the architecture (1)."""
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            return F.cross_entropy(self.network(self.images[part], self.architecture()), self.labels)

    def plain_step(self) -> None:
        """First order with everything computed at both levels."""
        for optimizer, part in ((self.arch_optimizer, 1), (self.weights_optimizer, 0)):
            self.arch_optimizer.zero_grad()
            self.weights_optimizer.zero_grad()
            self.loss(part).backward()
            optimizer.step()

    def first_order(self) -> None:
        """Architecture and weights, each with the other one frozen, as `SearchModule` does."""
        with frozen(self.weights), frozen_statistics(self.norms):
            gradient = torch.autograd.grad(self.loss(1), self.logits)
        self._step(gradient)

    def single_level(self) -> None:
        """Both levels along one gradient."""
        self.arch_optimizer.zero_grad()
        self.weights_optimizer.zero_grad()
        self.loss(0).backward()
        self.arch_optimizer.step()
        self.weights_optimizer.step()

    def mixing(self) -> None:
        """What the relaxation costs within a step of one level: forward and backward."""
        mixture = self.architecture()
        torch.autograd.grad(sum(cell.weights.sum() for cell in mixture), self.logits)

    def second_order(self) -> None:
        """The architecture along the gradient after one virtual step, then the weights."""
        with frozen_statistics(self.norms):
            gradient, _ = unrolled_gradient(
                lambda: [self.loss(1)], lambda: [self.loss(0)], self.weights, self.logits, self.weights_optimizer
            )
        self._step(gradient)

    def _step(self, gradient: tuple[Tensor, ...] | list[Tensor]) -> None:
        for logits, value in zip(self.logits, gradient, strict=True):
            logits.grad = value
        self.arch_optimizer.step()
        self.weights_optimizer.zero_grad()
        with frozen(self.logits):
            self.loss(0).backward()
        self.weights_optimizer.step()


def build(options: argparse.Namespace, kind: str, order: int, precision: str) -> tuple[Search, Callable[[], None]]:
    """A row of the table."""
    torch.set_num_threads(options.threads)
    if kind == "plain":
        search = Search(options, Reference(), False)
        return search, search.plain_step if order == 1 else search.second_order
    if kind in SPARSE:
        relaxation, quarter, step = SPARSE[kind]
        search = Search(options, Fused(), True, precision, relaxation, quarter)
        return search, getattr(search, step)
    search = Search(options, ENGINES[kind], True, precision)
    return search, search.first_order if order == 1 else search.second_order


SPARSE: dict[str, tuple[Relaxation, bool, str]] = {
    "softmax, all": (Softmax(), False, "single_level"),
    "3-entmax, all": (Entmax(3.0), False, "single_level"),
    "3-entmax, a quarter": (Entmax(3.0), True, "single_level"),
    "softmax alone": (Softmax(), False, "mixing"),
    "2-entmax alone": (Entmax(2.0), False, "mixing"),
    "3-entmax alone": (Entmax(3.0), False, "mixing"),
    "entmax 1 to 3 alone": (Entmax(3.0, start=1.0), False, "mixing"),
}
"""Rows of a single-level search: relaxation, whether pruned, what is measured."""


def peak(options: argparse.Namespace, row: tuple[str, int, str]) -> float:
    """MiB that two steps add to what a fresh process held before them; on a GPU the largest allocation."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (options, row))


def _peak(options: argparse.Namespace, row: tuple[str, int, str]) -> float:
    _, step = build(options, *row)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in range(2):
        step()
    if options.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 64), ("size", 32), ("channels", 16), ("cells", 8), ("repeats", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--orders", type=int, nargs="+", default=[1], choices=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["reference", "fused"], choices=sorted(ENGINES))
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--sparse", action="store_true", help="single-level rows instead: relaxations and pruning")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: dict[str, tuple[str, int, str]] = {}
    if options.sparse:
        rows = {kind: (kind, 1, "float32") for kind in SPARSE}
    else:
        rows = {f"plain, order {order}": ("plain", order, "float32") for order in options.orders}
        for precision in options.precisions:
            for engine in options.engines:
                for order in options.orders:
                    if order == 1 or precision == "float32":  # differences of losses need full precision
                        rows[f"{engine}, {precision}, order {order}"] = engine, order, precision
    measure(rows, options)


def measure(rows: dict[str, tuple[str, int, str]], options: argparse.Namespace) -> None:
    """Lets the rows take turns and prints the table."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    peaks = {name: peak(options, row) for name, row in rows.items()}
    built = {name: build(options, *row) for name, row in rows.items()}
    warm, held = {}, {}
    for turn in range(options.repeats + 1):
        for name, (search, step) in built.items():
            if options.device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            step()
            if options.device == "cuda":
                torch.cuda.synchronize()
            took = time.perf_counter() - start
            if turn:
                seconds[name].append(took)
                continue
            warm[name] = took
            gc.collect()
            held[name] = held_for_backward(lambda search=search: search.loss(0)) / 2**20
    first = {order: name for name, (_, order, _) in reversed(rows.items())}
    sizes = f"batch {options.batch}, {options.channels} channels, {options.cells} cells, {options.size}x{options.size}"
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {sizes}, {options.repeats} repeats")
    heads = {"": 32, "median s": 10, "min": 9, "max": 9, "images/s": 10, "speed": 8}
    heads |= {"held MiB": 10, "of first": 10, "peak MiB": 10, "of first ": 10, "first s": 9}
    print("".join(f"{head:>{width}}" for head, width in heads.items()))
    for name, times in seconds.items():
        median, base = statistics.median(times), first[rows[name][1]]
        print(f"{name:32}{median:10.4f}{min(times):9.4f}{max(times):9.4f}", end="")
        if name in SPARSE and SPARSE[name][2] == "mixing":
            print(f"{100 * median / statistics.median(seconds[base]):10.2f} % of the first row")
            continue
        print(
            f"{options.batch / median:10.1f}{statistics.median(seconds[base]) / median:7.2f}x{held[name]:10.0f}"
            f"{held[name] / held[base]:9.2f}x{peaks[name]:10.0f}{peaks[name] / peaks[base]:9.2f}x{warm[name]:9.1f}"
        )
    print("Held: for the backward pass of one loss. Peak: what two steps add to a fresh process, on a GPU all of it.")


if __name__ == "__main__":
    main()
