"""What a search refuses before its first step: keys of the Trainer, splits and settings that cannot take effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from lit_nas.architecture import Architecture, Mixture, Unselected
from lit_nas.clock import Moment
from lit_nas.edges import MergedConv, MixedEdge, One
from lit_nas.engine import Engine
from lit_nas.internals import data_of
from lit_nas.search.search_optim import SearchOptim
from lit_nas.search.skip_dropout import DroppedSkip

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("PRECISIONS", "check_graphs", "check_run", "check_trainer")

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
"""Precisions of the Trainer in which a search computes correctly."""


def check_trainer(trainer: Trainer, optim: SearchOptim) -> None:
    """Refuses keys of the Trainer that alternating steps cannot obey.

    Raises:
        ValueError: naming the key, and the one to use instead.
    """
    if trainer.precision not in PRECISIONS:
        raise ValueError(
            f"trainer.precision {trainer.precision} does not work for a search: weights, schedules and the clock "
            f"need more than 16 bits. Choose one of {', '.join(PRECISIONS)}."
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            "trainer.gradient_clip_val does not work for a search, because two optimisers alternate. Set "
            f"model.optim.clip (now {optim.clip}) and leave trainer.gradient_clip_val out."
        )
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            "trainer.accumulate_grad_batches does not work for a search, because two optimisers alternate. "
            f"Leave it at 1 and set model.optim.accumulate (now {optim.accumulate}), which cuts each batch of "
            "data.batch_size into that many parts."
        )
    if trainer.gradient_clip_algorithm is not None:
        raise ValueError(
            "trainer.gradient_clip_algorithm does not work for a search; model.optim.clip clips the norm of the "
            "gradient of all weights."
        )


def check_run(module: SearchParts) -> None:
    """Refuses a run or data that a search cannot do with.

    Raises:
        ValueError: naming the key and what is known of it.
    """
    trainer, optim = module.trainer, module.optim
    if trainer.max_epochs is None or trainer.max_epochs < 1:
        raise ValueError("A search needs trainer.max_epochs >= 1: its schedules span the run.")
    data = data_of(trainer)
    roles = getattr(data, "roles", module.roles)
    if missing := sorted(module.roles - roles):
        raise ValueError(
            f"{type(module).__name__} (model.optim.level {optim.level}) needs a split with the parts "
            f"{sorted(module.roles)}, but data.split gives {sorted(roles)} without {missing}. Use `half`, "
            "`one-one-four`, or a mapping such as {weights: 0.5, arch: 0.5}."
        )
    if optim.arch_from_epoch >= trainer.max_epochs:
        raise ValueError(
            f"model.optim.arch_from_epoch is {optim.arch_from_epoch}, but the run ends after "
            f"trainer.max_epochs {trainer.max_epochs}: the architecture would never be updated."
        )
    _check_relaxations(module)
    _check_gradient(module)
    _check_edges(module)
    if optim.decay is not None and module.order == 2:
        raise ValueError(
            "model.optim.decay does not enter the virtual step of the second order: set model.order to 1, or set "
            "weight_decay of model.optim.weights and leave model.optim.decay out."
        )
    _check_width(optim, trainer.max_epochs)
    size = getattr(data, "batch_size", None)
    if isinstance(size, int) and optim.accumulate > size:
        raise ValueError(
            f"model.optim.accumulate is {optim.accumulate}, but data.batch_size is {size}: a batch cannot "
            f"be cut into more parts than it has {module.spec.samples}. Use a smaller accumulate or a larger "
            "batch_size."
        )


def _check_relaxations(module: SearchParts) -> None:
    """Refuses relaxations from which the method would not learn, and a decay that they do not carry."""
    architecture, name = module.architecture, type(module).__name__
    for key, relaxation in (("relaxation", architecture.relaxation), ("edge_relaxation", architecture.edge_relaxation)):
        if relaxation is not None and module.differentiates_mixture and not relaxation.differentiable:
            raise ValueError(
                f"model.{key} is {type(relaxation).__name__}, whose mixing weights have no gradient, but {name} learns "
                "from one: choose another relaxation."
            )
    if architecture.relaxation.probes and getattr(module, "product", None) == "exact":
        raise ValueError(
            f"model.product is exact, but the gradients of candidates that model.relaxation "
            f"{type(architecture.relaxation).__name__} probes cannot be differentiated again: set model.product to "
            "finite_difference."
        )
    if module.optim.decay is not None and not module.differentiates_mixture:
        raise ValueError(
            f"model.optim.decay follows what a step executes, but the architecture of {name} learns from several "
            "samples: leave it out, and set weight_decay of model.optim.weights and model.optim.arch."
        )


def _check_gradient(module: SearchParts) -> None:
    """Refuses a relaxation whose weights do not depend on the parameters: the architecture would stay as it is.

    A search that is fitted once more may have decided, so that its weights are exactly 0 and 1 and have no gradient
    any more. What counts is that there is one where nothing has been decided.

    Raises:
        ValueError: naming it.
    """
    architecture = module.architecture
    if not (module.differentiates_mixture and architecture.training) or not _without_gradient(module):
        return
    with _undecided(architecture):
        cells = _without_gradient(module)
    if cells:
        raise ValueError(
            f"model.relaxation {type(architecture.relaxation).__name__} gives the architecture no gradient: its mixing "
            f"weights of the cell '{cells[0]}' do not depend on the parameters (through `detach`, a rounding, an "
            "argmax or numpy?), so that nothing would be learnt. Compute `probabilities` or `weights` from `logits` by "
            "differentiable operations, or choose another relaxation."
        )


def _without_gradient(module: SearchParts) -> list[str]:
    """Cells with a choice whose mixing weights have no gradient at the present parameters."""
    architecture = module.architecture
    with torch.enable_grad(), architecture.drawing("both" if module.optim.level == "single" else "arch"):
        total = _weighted_sum(architecture())
        parameters = list(architecture.logits.values())
        gradients: Sequence[Tensor | None] = [None] * len(parameters)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [
        name
        for name, gradient in zip(architecture.logits, gradients, strict=True)
        if any(len(columns) > 1 for columns in architecture.active(name)) and (gradient is None or not gradient.any())
    ]


@contextmanager
def _undecided(architecture: Architecture) -> Iterator[None]:
    """Within, all candidates are about equally probable."""
    generator, kept = torch.Generator().manual_seed(0), list[Tensor]()
    for parameter in architecture.logits.values():
        kept.append(parameter.data)
        parameter.data = (1e-3 * torch.randn(parameter.shape, generator=generator)).to(parameter)
    try:
        yield
    finally:
        for parameter, data in zip(architecture.logits.values(), kept, strict=True):
            parameter.data = data


def _weighted_sum(mixture: Mixture) -> Tensor:
    """A sum of mixing weights in which columns count differently, so that its gradient shows what they depend on."""
    terms = [
        (cell.weights * torch.arange(1.0, 1 + cell.weights.shape[-1], device=cell.weights.device)).sum()
        for cell in mixture
    ]
    return sum(terms[1:], terms[0])


def _check_edges(module: SearchParts) -> None:
    """Refuses edges from which the method would not learn, or that compute what it does not ask for."""
    relaxation, edges = module.architecture.relaxation, list(module.network.modules())
    constant = any(isinstance(edge, MixedEdge) and isinstance(edge.path, One) for edge in edges)
    if constant and not isinstance(module.architecture.beside, Unselected):
        raise ValueError(
            "model.edges is ConstantBeside, whose constant stands for operations that GDAS does not sample: choose "
            "PlainEdges, or GDAS with model.constant_unselected true."
        )
    ratios = any(isinstance(edge, MergedConv) and not edge.rescale for edge in edges)
    if ratios and relaxation.one_path and module.differentiates_mixture:
        raise ValueError(
            "model.edges.rescale is false, so that only the ratios of the weights within a merged kernel matter, "
            f"but model.relaxation {type(relaxation).__name__} executes one candidate of each edge, whose weight then "
            "has no gradient: set model.edges.rescale to true."
        )


def _check_width(optim: SearchOptim, epochs: int) -> None:
    """Refuses a neighbourhood of negative width in any epoch."""
    if optim.perturbation is None:
        return
    for epoch in range(epochs):  # schedules look at parts of the run, so a step may be a whole epoch here
        width = float(optim.perturbation.epsilon(Moment(float(epoch), float(epoch), float(epochs), float(epochs))))
        if not width >= 0:
            raise ValueError(
                f"model.optim.perturbation.epsilon is {width} in epoch {epoch}, but half the width of a neighbourhood "
                "must not be negative: choose a schedule that stays at 0 or above."
            )


def check_graphs(module: SearchParts) -> None:
    """Refuses to capture gradients in CUDA graphs where they would compute something else.

    Raises:
        ValueError: naming what graphs need.
    """
    engines = {getattr(part, "engine", None) for part in module.network.modules()}
    recomputes = any(isinstance(engine, Engine) and engine.recomputes for engine in engines)
    for unsupported, requirement in (
        (module.architecture.samples, "a relaxation that draws nothing: a graph replays the candidates of its capture"),
        (recomputes, "model.engine.checkpoint false, because recomputation reads random states on the host"),
        (
            getattr(module.network, "drops_paths", False),
            "no drop path, whose masks are drawn: a graph replays those of its capture",
        ),
        (
            any(isinstance(part, DroppedSkip) for part in module.network.modules()),
            "no dropout after skip connections, whose masks are drawn: a graph replays those of its capture",
        ),
        (module.device.type != "cuda", f"a GPU, but runs on {module.device.type}"),
        (module.order != 1, "the first order: order 2 changes the weights within a step"),
        (module.trainer.world_size > 1, "one process"),
        (module.gradients.scale().value != 1.0, "precision 32-true or bf16-mixed: the scale of 16-mixed changes"),
    ):
        if unsupported:
            raise ValueError(f"model.optim.graphs needs {requirement}. Set model.optim.graphs to false.")
