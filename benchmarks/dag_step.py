"""What a search over rows of DAGs costs beside networks of the cells that it evaluates, and nothing else.

Two steps are measured, each beside a module without mixture and engine: one that evaluates all cells of each row (the
plain network adds them up), and one that evaluates one cell of each row (the plain network is that of the genotype). A
step is one of first order: the gradient of the architecture with the weights frozen, then one step of the weights. Both
run in one process and take turns. Seconds are those of the processor on a CPU, so that other processes matter less, and
elapsed ones on a GPU. Read the ratios.

    python benchmarks/dag_step.py
    python benchmarks/dag_step.py --device cuda --batch 128 --size 32 --channels 4 --cells 4
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.engine import Engine, Fused, Reference
from lit_nas.networks import DagSearchNetwork
from lit_nas.optim import DartsAdam, frozen
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DagSpace
from lit_nas.specs import ImageSpec

ENGINES: dict[str, Engine] = {"reference": Reference(), "fused": Fused()}
Columns = tuple[tuple[int, ...], ...]
"""For each row the numbers of the cells that are evaluated."""


class Plain(nn.Module):
    """The modules of a search network, called one after the other; the cells of a row are added up.

    Args:
        network: Whose modules they are.
        columns: The cells that take part.
    """

    def __init__(self, network: DagSearchNetwork, columns: Columns) -> None:
        super().__init__()
        self.stem, self.classifier = network.stem, network.classifier
        self.transitions = nn.ModuleList(row.transition for row in network.cells)
        self.rows = nn.ModuleList(
            nn.ModuleList(row.edges[0].operations[row.space.operations[column]] for column in chosen)
            for row, chosen in zip(network.cells, columns, strict=True)
        )

    def forward(self, images: Tensor, cuts: list[Tensor] | None = None) -> Tensor:
        """[B, C, H, W] -> logits [B, K].

        Args:
            images: [B, C, H, W].
            cuts: Gets the output of the first row, at which a backward pass then ends.
        """
        x = self.stem(images)
        for transition, cells in zip(self.transitions, self.rows, strict=True):
            first, *others = map(partial(_call, transition(x)), cells)
            x = sum(others, first)
            if cuts == []:
                x = x.detach().requires_grad_()
                cuts.append(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _call(x: Tensor, cell: nn.Module) -> Tensor:
    return cell(x)


class Search(nn.Module):
    """A search network and its architecture.

    Args:
        network: The network.
        architecture: One logit for each cell.
        columns: The cells that are evaluated.
    """

    def __init__(self, network: DagSearchNetwork, architecture: Architecture, columns: Columns) -> None:
        super().__init__()
        self.network, self.architecture, self.columns = network, architecture, columns

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, K]."""
        mixture = [
            CellMixture(self.architecture.logits[row].softmax(-1), (chosen,))
            for row, chosen in zip(self.network.types, self.columns, strict=True)
        ]
        return self.network(images, mixture)


class Step:
    """A module, an optimiser and a fixed batch.

    Args:
        options: Sizes, from the command line.
        module: What is trained.
        channels_last: The layout of the images, which all that follows keeps.
    """

    def __init__(self, options: argparse.Namespace, module: Plain | Search, channels_last: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = 2, options.batch, 3, options.size, options.size
        self.images = list(torch.randn(shape, generator=generator).to(options.device))
        if channels_last:
            self.images = [images.contiguous(memory_format=torch.channels_last) for images in self.images]
        self.labels = torch.randint(10, (options.batch,), generator=generator).to(options.device)
        self.module, self.device = module, options.device
        self.alphas = list(module.architecture.parameters()) if isinstance(module, Search) else []
        network = module.network if isinstance(module, Search) else module
        self.weights = list(network.parameters())
        self.optimizer = DartsAdam(self.weights)

    def __call__(self) -> None:
        """Both levels; without an architecture the gradient by the output of the first row takes the place of its."""
        with frozen(self.weights):
            if isinstance(self.module, Search):
                torch.autograd.grad(F.cross_entropy(self.module(self.images[1]), self.labels), self.alphas)
            else:
                cuts: list[Tensor] = []
                torch.autograd.grad(F.cross_entropy(self.module(self.images[1], cuts), self.labels), cuts)
        self.optimizer.zero_grad()
        with frozen(self.alphas):
            F.cross_entropy(self.module(self.images[0]), self.labels).backward()
        self.optimizer.step()

    def seconds(self) -> float:
        """What it takes: of the processor on a CPU, elapsed ones on a GPU."""
        clock = time.perf_counter if self.device == "cuda" else time.process_time
        if self.device == "cuda":
            torch.cuda.synchronize()
        start = clock()
        self()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return clock() - start


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("batch", 64), ("size", 32), ("channels", 4), ("cells", 4), ("repeats", 7), ("threads", 1)
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--engines", nargs="+", default=["reference", "fused"], choices=sorted(ENGINES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    space = DagSpace(widths=tuple(options.channels * 2**row for row in range(options.cells)))
    number = len(space.dags)
    draws = {
        "all cells": (tuple(range(number)),) * options.cells,
        "one cell": tuple((row % number,) for row in range(options.cells)),
    }
    shape = f"batch {options.batch}, {options.size}x{options.size}, channels {space.widths}, {number} cells in a row"
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {shape}")
    print(f"{'':22}{'search s':>10}{'plain s':>10}{'ratio':>8}{'from':>7}{'to':>6}")
    for name in options.engines:
        for draw, columns in draws.items():
            steps = []
            for plain in (False, True):
                torch.manual_seed(0)
                network = DagSearchNetwork(space, ImageSpec(3, options.size, options.size), ENGINES[name])
                module = Plain(network, columns) if plain else Search(network, Architecture(space, Softmax()), columns)
                steps.append(Step(options, module.to(options.device), name == "fused"))  # as the engine has it
            for step in steps:  # warm up: kernels, momentum, what is known of candidates
                step()
            times = [[step.seconds() for step in steps] for _ in range(options.repeats)]
            ratios = [search / plain for search, plain in times]
            search, plain = map(statistics.median, zip(*times, strict=True))
            ends = f"{statistics.median(ratios):8.3f}{min(ratios):7.2f}{max(ratios):6.2f}"
            print(f"{f'{name}, {draw}':22}{search:10.4f}{plain:10.4f}{ends}")


if __name__ == "__main__":
    main()
