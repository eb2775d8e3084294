"""What a search has found: the discrete cells of its architecture, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from lit_nas.derivation import Deriver, EmptyCellError, Masks, default_deriver
from lit_nas.genotype import Genotype
from lit_nas.internals import data_of, is_attached
from lit_nas.operations.registry import find_operation
from lit_nas.record.own_modules import KEY, own_modules
from lit_nas.record.plain import commit
from lit_nas.search.landing import land, targets_of
from lit_nas.spaces import SearchSpace

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("discrete_cells", "found_genotype", "rule_of")


def rule_of(module: SearchParts) -> Deriver:
    """How a search is made discrete: its own rule, or that of its space.

    Args:
        module: The search.
    """
    return default_deriver(module.architecture.space) if module.deriver is None else module.deriver


def discrete_cells(module: SearchParts) -> Genotype:
    """The discrete cells that the architecture of a search stands for now, without where they come from.

    Args:
        module: The search.

    Raises:
        EmptyCellError: if no operation of a cell is left.
    """
    return rule_of(module)(*_compared(module))


def _compared(module: SearchParts) -> tuple[SearchSpace, Mapping[str, Tensor], Masks]:
    """What the rule of a search is handed."""
    architecture = module.architecture
    masks = {name: architecture.mask(name).cpu() for name in architecture.space.cells}
    return architecture.space, architecture.compared(rule_of(module).compares), masks


def found_genotype(module: SearchParts) -> Genotype:
    """The discrete cells that the architecture of a search stands for now.

    Args:
        module: The search.

    Raises:
        EmptyCellError: if no operation of a cell is left, with advice.
    """
    architecture = module.architecture
    try:
        genotype = _near_targets(module)
    except EmptyCellError as error:
        advice = (
            "Search again with milder pruning (a smaller threshold or alpha, a later from_epoch, or guard: true): "
            "what has been pruned does not come back."
            if architecture.pruned
            else "Search on, or keep `none` from being chosen (model.deriver.exclude: [none]; or leave it out of "
            "model.space.operations)."
        )
        raise EmptyCellError(f"{error} {advice}") from error
    genotype = genotype.with_meta(method=type(module).__name__, rule=repr(rule_of(module)))
    names = {edge.operation for cell in genotype.cells.values() for edge in cell.edges}
    if modules := own_modules([type(architecture.space), *filter(None, map(find_operation, sorted(names)))]):
        genotype = genotype.with_meta(**{KEY: modules})
    return _with_run(genotype, module) if is_attached(module) else genotype


def _near_targets(module: SearchParts) -> Genotype:
    """What is derived, with choices changed where a cost has a target and is too far from it."""
    if not (targets := targets_of(module)):
        return discrete_cells(module)
    space, compared, masks = _compared(module)
    return land(space, rule_of(module), compared, masks, targets)


def _with_run(genotype: Genotype, module: SearchParts) -> Genotype:
    """Adds what is known of the run."""
    trainer = module.trainer
    seed, score = os.environ.get("PL_GLOBAL_SEED"), trainer.callback_metrics.get(f"val/{module.judged_by}")
    genotype = genotype.with_meta(
        seed=None if seed is None else int(seed),
        epoch=min(module.current_epoch, (trainer.max_epochs or 1) - 1),
        commit=commit(),
        **{f"validation_{module.judged_by}": None if score is None else float(score)},
    )
    if (held_out := getattr(data_of(trainer), "held_out", None)) is not None:
        # a retraining must not test on what the search trained on
        genotype = genotype.with_meta(held_out=held_out)
    return genotype
