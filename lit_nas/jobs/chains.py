"""Jobs within a job: their stages under names of their own."""

from dataclasses import replace

from lit_nas.jobs.history import History
from lit_nas.jobs.stage import Stage

__all__ = ("part_of", "within")


def within(prefix: str, stage: Stage) -> Stage:
    """A stage of a job as a stage of the job around it.

    Args:
        prefix: What the names of the inner job's stages begin with in the outer one.
        stage: The stage, and what it takes, by the names of the inner job.
    """
    return replace(
        stage,
        name=prefix + stage.name,
        takes={key: replace(file, stage=prefix + file.stage) for key, file in stage.takes.items()},
        divides_as=prefix + stage.divides_as if stage.divides_as else "",
        weights=None if stage.weights is None else replace(stage.weights, stage=prefix + stage.weights.stage),
    )


def part_of(prefix: str, history: History) -> History:
    """What the inner job has found, by its own names.

    Args:
        prefix: What the names of its stages begin with.
        history: Of the outer job.
    """
    return History(
        tuple(
            replace(found, name=found.name.removeprefix(prefix)) for found in history if found.name.startswith(prefix)
        )
    )
