"""Time and memory of one search step: engine x order x precision, interleaved in one process.

The first row is what the others are compared with: the network as it is commonly written (contiguous layout, one
module after the other) with `loss.backward()` for both levels. Rows take turns, so that a busy machine slows all of
them alike; read the ratios.

    python benchmarks/search_step.py
    python benchmarks/search_step.py --batch 16 --size 16 --repeats 5 --engines fused
    python benchmarks/search_step.py --device cuda --precisions float32 bfloat16
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.engine import Engine, Fused, Reference
from lit_nas.inputs import ImageSpec
from lit_nas.networks import SearchNetwork
from lit_nas.optim import DartsAdam, DartsSGD, frozen, frozen_statistics, unrolled_gradient
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace

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
    """

    def __init__(self, options: argparse.Namespace, engine: Engine, channels_last: bool, precision: str) -> None:
        torch.manual_seed(0)
        space, size = DartsSpace(init_channels=options.channels, num_cells=options.cells), options.size
        self.device = options.device
        self.network = SearchNetwork(space, ImageSpec(height=size, width=size), engine).to(self.device)
        self.architecture = Architecture(space, Softmax()).to(self.device)
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


def held_for_backward(search: Search) -> float:
    """MiB that autograd holds for the backward pass of a step of the weights, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output that refers to itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = search.loss(0)
    own = {parameter.untyped_storage().data_ptr() for parameter in search.network.parameters()}
    del loss
    return sum(size for key, size in storages.items() if key not in own) / 2**20


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 64), ("size", 32), ("channels", 16), ("cells", 8), ("repeats", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--orders", type=int, nargs="+", default=[1], choices=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["reference", "fused"], choices=sorted(ENGINES))
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)

    rows: dict[str, tuple[Search, Callable[[], None], int]] = {}
    baseline = Search(options, Reference(), False, "float32")
    for order in options.orders:
        step = baseline.plain_step if order == 1 else baseline.second_order
        rows[f"plain, order {order}"] = baseline, step, order
    for precision in options.precisions:
        for engine in options.engines:
            search = Search(options, ENGINES[engine], True, precision)
            for order in options.orders:
                if order == 2 and precision != "float32":
                    continue  # differences of losses need full precision
                step = search.first_order if order == 1 else search.second_order
                rows[f"{engine}, {precision}, order {order}"] = search, step, order
    measure(rows, options)


def measure(rows: dict[str, tuple[Search, Callable[[], None], int]], options: argparse.Namespace) -> None:
    """Lets the rows take turns and prints the table."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    warm, memory = {}, {}
    for turn in range(options.repeats + 1):
        for name, (search, step, _) in rows.items():
            if options.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
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
            on_gpu = options.device == "cuda"
            memory[name] = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else held_for_backward(search)
    first = {order: name for name, (_, _, order) in reversed(rows.items())}
    sizes = f"batch {options.batch}, {options.channels} channels, {options.cells} cells, {options.size}x{options.size}"
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {sizes}, {options.repeats} repeats")
    heads = {
        "": 42,
        "median s": 10,
        "min": 8,
        "max": 8,
        "images/s": 10,
        "speed": 7,
        "MiB": 8,
        "memory": 8,
        "first s": 9,
    }
    print("".join(f"{head:>{width}}" for head, width in heads.items()))
    for name, times in seconds.items():
        median, base = statistics.median(times), first[rows[name][2]]
        print(
            f"{name:42}{median:10.3f}{min(times):8.3f}{max(times):8.3f}{options.batch / median:10.1f}"
            f"{statistics.median(seconds[base]) / median:6.2f}x{memory[name]:8.0f}"
            f"{memory[name] / memory[base]:7.2f}x{warm[name]:9.1f}"
        )
    what = "largest allocation of a step" if options.device == "cuda" else "held for the backward pass of the weights"
    print(f"Memory: {what}. Peak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB.")


if __name__ == "__main__":
    main()
