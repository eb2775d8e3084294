"""Tokens per second of recurrent cells, beside an implementation that goes through the formulas one by one.

The plain implementation has the same parameters and masks. It multiplies token and state by the weights at each time
step, each pair of states by itself, and adds up one activation after the other; a chosen cell computes one node after
the other. A step of a search is one of first order: the gradient of the architecture with the weights frozen, then that
of the weights; a step of a chosen cell is the latter. Both run in one process and take turns. Seconds are those of the
processor with one thread, so that other processes matter less, and elapsed ones with several. Read the ratios.

    python benchmarks/recurrent_step.py
    python benchmarks/recurrent_step.py --batch 256 --compile
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.genotype import load_genotype
from lit_nas.language import LanguageDropout, Masks
from lit_nas.networks import LanguageModel, LanguageNetwork, RecurrentCell, RecurrentSearchCell, build_search_network
from lit_nas.operations import ACTIVATIONS
from lit_nas.optim import frozen
from lit_nas.relaxations import Softmax
from lit_nas.spaces import RecurrentSpace
from lit_nas.specs import TextSpec


def plain_search(cell: RecurrentSearchCell, logits: Tensor, x: Tensor, last: Tensor, masks: Masks) -> Tensor:
    """Hidden states [T, B, d] of a search cell, one candidate after the other."""
    weights, outputs = logits.softmax(-1), []
    for token in x.unbind(0):
        states, row = [cell._normalise(first_state(cell, token, last, masks))], 0
        for matrix in cell.nodes:
            total = torch.zeros_like(last)
            for state in states:
                gate, value = ((state * masks.states) @ matrix).chunk(2, -1)
                gate = gate.sigmoid()
                for column, name in enumerate(cell.space.operations):
                    if name != "none":
                        total = total + weights[row, column] * (state + gate * (ACTIVATIONS[name](value) - state))
                row += 1
            states.append(cell._normalise(total))
        last = torch.stack(states[1:]).mean(0)
        outputs.append(last)
    return torch.stack(outputs)


def plain_chosen(cell: RecurrentCell, x: Tensor, last: Tensor, masks: Masks) -> Tensor:
    """Hidden states [T, B, d] of a chosen cell, one node after the other."""
    outputs = []
    for token in x.unbind(0):
        states = [first_state(cell, token, last, masks)]
        for matrix, edge in zip(cell.nodes, cell.cell.edges, strict=True):
            state = states[edge.source]
            gate, value = ((state * masks.states) @ matrix).chunk(2, -1)
            states.append(state + gate.sigmoid() * (ACTIVATIONS[edge.operation](value) - state))
        last = torch.stack([states[index] for index in cell.cell.concat]).mean(0)
        outputs.append(last)
    return torch.stack(outputs)


def first_state(cell: RecurrentSearchCell | RecurrentCell, token: Tensor, last: Tensor, masks: Masks) -> Tensor:
    """State 0."""
    gate, value = (torch.cat([token * masks.tokens, last * masks.states], 1) @ cell.entry).chunk(2, -1)
    return last + gate.sigmoid() * (value.tanh() - last)


class Step:
    """A cell and what is computed of it.

    Args:
        options: Sizes, from the command line.
        model: Whose cell it is.
        run: (x, state, masks) -> hidden states.
        alpha: Parameters of the architecture, none for a chosen cell.
    """

    def __init__(
        self, options: argparse.Namespace, model: LanguageModel, run: Callable[..., Tensor], alpha: list[Tensor]
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = options.window, options.batch
        self.tokens = torch.randint(options.vocabulary, shape, generator=generator)
        self.targets = torch.randint(options.vocabulary, shape, generator=generator)
        weight = model.embedding.weight
        self.masks = LanguageDropout().draw(options.vocabulary, options.batch, weight, generator)
        self.clock = time.process_time if options.threads == 1 else time.perf_counter
        self.model, self.run, self.alpha, self.whole = model, run, alpha, options.whole
        self.weights = list(model.parameters()) if options.whole else list(model.cell.parameters())

    def loss(self) -> Tensor:
        """Of the whole model, or of the cell alone."""
        x = F.embedding(self.tokens, self.model.embedding.weight)
        hidden = self.run(x if self.whole else x.detach(), self.model.initial_state(x.shape[1]), self.masks)
        if not self.whole:
            return hidden.square().mean()
        logits = F.linear(hidden * self.masks.outputs, self.model.embedding.weight, self.model.bias)
        return F.cross_entropy(logits.flatten(0, 1), self.targets.flatten())

    def __call__(self) -> float:
        """Runs it; the seconds that it takes."""
        start = self.clock()
        if self.alpha:
            with frozen(self.weights):
                torch.autograd.grad(self.loss(), self.alpha)
        with frozen(self.alpha):
            torch.autograd.grad(self.loss(), self.weights)
        return self.clock() - start


def rows(options: argparse.Namespace) -> dict[str, tuple[Step, Step]]:
    """By name a step of lit-nas and the plain one."""
    space, spec = RecurrentSpace(options.width), TextSpec(options.vocabulary)
    search, alpha = build_search_network(space, spec, None), Architecture(space, Softmax())
    chosen = LanguageNetwork(options.width).build(load_genotype("DARTS_RNN_V2"), spec)
    logits = alpha.logits["recurrent"]

    def searched(x: Tensor, state: Tensor, masks: Masks) -> Tensor:
        (mixture,) = alpha()
        return search.cell(x, state, mixture, masks)

    def plainly(x: Tensor, state: Tensor, masks: Masks) -> Tensor:
        return plain_search(search.cell, logits, x, state, masks)

    def one_by_one(x: Tensor, state: Tensor, masks: Masks) -> Tensor:
        return plain_chosen(chosen.cell, x, state, masks)

    return {
        "search": (Step(options, search, searched, [logits]), Step(options, search, plainly, [logits])),
        "chosen": (Step(options, chosen, chosen.cell, []), Step(options, chosen, one_by_one, [])),
    }


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = ("batch", 64), ("width", 300), ("window", 35), ("vocabulary", 10_000), ("repeats", 5), ("threads", 1)
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--whole", action="store_true", help="with embedding and decoder, not the cell alone")
    parser.add_argument("--compile", action="store_true", help="compiles a time step of the search cell")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.compile:
        RecurrentSearchCell._step = torch.compile(RecurrentSearchCell._step)  # type: ignore[method-assign]
    print(
        f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}, window {options.window}, ",
        end="",
    )
    print(f"width {options.width}, " + (f"{options.vocabulary} words" if options.whole else "cell alone"))
    print(f"{'':8}{'tokens/s':>10}{'plain':>10}{'ratio':>8}{'from':>7}{'to':>6}")
    tokens = options.batch * options.window
    for name, steps in rows(options).items():
        for step in steps:
            step()
        times = [[step() for step in steps] for _ in range(options.repeats)]
        ratios = [plain / ours for ours, plain in times]
        ours, plain = map(statistics.median, zip(*times, strict=True))
        ends = f"{statistics.median(ratios):8.2f}{min(ratios):7.2f}{max(ratios):6.2f}"
        print(f"{name:8}{tokens / ours:10.0f}{tokens / plain:10.0f}{ends}")


if __name__ == "__main__":
    main()
