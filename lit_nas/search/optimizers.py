"""The optimisers of a search: first that of the weights, then that of the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from torch.optim.lr_scheduler import LRScheduler

from lit_nas.optim import check_unrollable, fit_to_run, is_spanning, make_part

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("build_optimizers", "check_owners", "fit_schedule_to_steps")


def build_optimizers(module: SearchParts) -> list[Any]:
    """Both optimisers and the schedule of the weights, in the form that Lightning wants.

    Args:
        module: A search with a Trainer.

    Raises:
        ValueError: if a setting of an optimiser is not one, or the second order cannot unroll it.
    """
    optim = module.optim
    # with their names, which are in the checkpoint and compared when it is loaded
    weights = make_part(optim.weights, module.network.named_parameters(), "model.optim.weights")
    if module.order == 2:
        check_unrollable(weights)
    schedule = make_part(optim.schedule, weights, "model.optim.schedule")
    if optim.schedule_every == "epoch":
        schedule = fit_to_run(schedule, module.trainer.max_epochs)
    arch = make_part(optim.arch, module.architecture.named_parameters(), "model.optim.arch")
    return [{"optimizer": weights, "lr_scheduler": schedule}, {"optimizer": arch}]


def check_owners(module: SearchParts, checkpoint: Mapping[str, Any]) -> None:
    """Refuses optimiser states that belong to other parameters, or to the same ones in another order.

    Args:
        module: The search that takes them over.
        checkpoint: That they are in.

    Raises:
        ValueError: if names differ.
    """
    states = checkpoint.get("optimizer_states", [])
    for level, owner, state in zip(("weights", "arch"), (module.network, module.architecture), states, strict=False):
        saved = [name for group in state["param_groups"] for name in group.get("param_names", [])]
        if saved != [name for name, _ in owner.named_parameters()]:
            raise ValueError(
                f"The optimiser state of the level '{level}' in the checkpoint belongs to other parameters than "
                "the model has, or to another order of them."
            )


def fit_schedule_to_steps(module: SearchParts) -> None:
    """Gives a schedule of steps that spans the run its length, which is known once the data are there.

    Asking for it earlier would load the data before a checkpoint says where in an epoch they continue.

    Args:
        module: A search that begins to train.

    Raises:
        ValueError: if nobody knows how many steps the run has.
    """
    schedule = cast(LRScheduler, module.lr_schedulers())
    if module.optim.schedule_every == "epoch" or not is_spanning(schedule):
        return
    steps = (module.trainer.max_epochs or 0) * module.trainer.num_training_batches
    if not isfinite(steps):
        raise ValueError(
            "model.optim.schedule_every is step, but the data do not say how many batches they have: set "
            "trainer.limit_train_batches, or schedule_every to epoch."
        )
    fit_to_run(schedule, int(steps), int(module.trainer.num_training_batches))
