"""Going through a job: propose, execute what is not finished, read what it found, propose again."""

from collections.abc import Callable
from pathlib import Path

from lit_nas.internals import is_rank_zero
from lit_nas.jobs.executor import Executor, Order
from lit_nas.jobs.history import History, read_found
from lit_nas.jobs.job import Job
from lit_nas.jobs.stage import Group, Stage

__all__ = ("advance", "is_finished", "look_ahead", "members")


def members(proposed: Stage | Group | None) -> tuple[Stage, ...]:
    """The stages of a proposal.

    Args:
        proposed: What a job proposes.

    Raises:
        TypeError: if it is no proposal.
    """
    if proposed is None:
        return ()
    if not isinstance(proposed, (Stage, Group)):
        raise TypeError(f"A job must propose a Stage, a Group or None, but proposes {proposed!r}.")
    return proposed.stages if isinstance(proposed, Group) else (proposed,)


def is_finished(stage: Stage, folder: Path) -> bool:
    """Whether a stage has left its result.

    Args:
        stage: The stage.
        folder: Of the job.
    """
    return (folder / stage.name / stage.result).exists()


def look_ahead(job: Job, folder: Path, redo: str | None = None) -> tuple[tuple[Stage, ...], ...]:
    """The proposals that can be told now: those that are finished, the next one, and each stage of the outline.

    Args:
        job: The job.
        folder: Its folder.
        redo: Name of a stage that is to be done again: what it found, and what lies behind it, is not read.

    Returns:
        In order; the stages of a proposal do not wait for each other.
    """
    history, found = History(), list[tuple[Stage, ...]]()
    while pending := _next(job, history):
        found.append(pending)
        if any(stage.name == redo or not is_finished(stage, folder) for stage in pending):
            break
        history = _grown(history, pending, folder)
    names = {stage.name for proposal in found for stage in proposal}
    return *found, *((stage,) for stage in job.outline() if stage.name not in names)


def advance(
    job: Job,
    folder: Path,
    prepare: Callable[[Stage], Order],
    executor: Executor,
    fit: Callable[[Order], None],
    announce: Callable[[Stage, bool], None],
) -> History:
    """Executes what is not finished, until there is nothing more to do.

    Args:
        job: The job.
        folder: Its folder.
        prepare: Resolves the configuration of a stage, and refuses one whose folder holds another.
        executor: Runs the stages.
        fit: Runs one stage in this process.
        announce: Is told of each stage before it runs, and whether it has been finished before.

    Returns:
        All stages.

    Raises:
        ValueError: if the job proposes a stage twice, or a stage ends without its result.
    """
    history = History()
    while proposed := _next(job, history):
        orders = [prepare(stage) for stage in proposed]
        waiting = [order for order in orders if not is_finished(order.stage, folder)]
        for order in orders:
            if order not in waiting:
                announce(order.stage, True)
        for order in waiting:
            for file in order.stage.files:
                file.check(folder)
        executor.run(waiting, fit, lambda order: announce(order.stage, False))
        for order in waiting:
            if not is_finished(order.stage, folder):
                raise ValueError(_without_result(order))
        history = _grown(history, proposed, folder)
        if waiting and is_rank_zero():
            job.write_so_far(history, folder)
    return history


def _next(job: Job, history: History) -> tuple[Stage, ...]:
    proposed = members(job.propose(history))
    for stage in proposed:
        if stage.name in history:
            raise ValueError(f"{type(job).__name__} proposes the stage `{stage.name}`, which is finished, again.")
        for file in stage.files:
            if file.stage not in history:
                raise ValueError(
                    f"The stage `{stage.name}` takes {file.path} of `{file.stage}`, which is not finished before it."
                )
    return proposed


def _grown(history: History, stages: tuple[Stage, ...], folder: Path) -> History:
    return History((*history.stages, *(read_found(stage, folder / stage.name) for stage in stages)))


def _without_result(order: Order) -> str:
    name = order.stage.name
    if order.stage.kind == "retrain":
        return f"The stage `{name}` ended without {order.stage.result}."
    title = "The search" if name == "search" else f"The search `{name}`"
    return (
        f"{title} ended without a genotype, because a cell has lost every operation; there is nothing to "
        f"retrain. Genotypes of earlier epochs, if there were any, are in {order.folder}/genotypes. "
        f"Search again with milder pruning and --redo {name}."
    )
