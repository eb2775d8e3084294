"""A whole job: search, derive, retrain, test, or the stages of another one; finished stages are skipped."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

import lit_nas
from lit_nas.atomic_write import write_text
from lit_nas.cli.check import Checks
from lit_nas.cli.explain import explained
from lit_nas.cli.full_disk import full_disk_named
from lit_nas.cli.job import EPILOG, JobPlan, plan_job, read_layers
from lit_nas.cli.job_clock import JobClock
from lit_nas.cli.screen import conclude_job, heading, next_of_job, resume_command
from lit_nas.cli.stage import fit_stage
from lit_nas.internals import is_rank_zero
from lit_nas.jobs import Executor, InThisProcess, Job, Order, Stage, advance, is_finished, launched, look_ahead
from lit_nas.record.job_folder import ASIDE, COMMAND, ORDER

__all__ = ("carry_out", "parser_of", "run")


def run(args: Sequence[str], only: type[Job] | None = None) -> None:
    """Goes through a job: by default searches, derives, retrains and tests.

    Args:
        args: Arguments of `lit-nas run`.
        only: The class that the job must have; None takes any.

    Raises:
        ValueError: for unknown keys, a job of another class, or a section that `lit-nas fit` would refuse; before any
            training.
        FileExistsError: if the folder holds a job of another configuration.
    """
    parser = parser_of("run", __doc__, EPILOG)
    parser.add_argument("--seed_everything", type=int, help="seed of all stages")
    given, words = parser.parse_known_args(args)

    job = plan_job([*read_layers(given.config)], words, given.folder, given.seed_everything)
    if only is not None and not isinstance(job.job, only):
        raise ValueError(
            f"The configuration has the job {type(job.job).__name__}, not {only.__name__}: name another one, or go "
            "through it with `lit-nas run`."
        )
    carry_out(job, ["run", *args], given.redo, given.print_config)


def parser_of(command: str, description: str | None, epilog: str) -> argparse.ArgumentParser:
    """The parser of a command that goes through a job, with the options that all of them have.

    Args:
        command: Its name.
        description: What it does.
        epilog: What stands below its options.
    """
    parser = argparse.ArgumentParser(
        f"lit-nas {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", required=True, type=Path, help="YAML file; later ones win")
    parser.add_argument("--folder", type=Path, help="folder of the job")
    parser.add_argument("--print_config", action="store_true", help="print the configuration of the stages and stop")
    parser.add_argument(
        "--redo",
        metavar="STAGE",
        help="do this stage and those behind it again; the folders of the old ones are kept under other names",
    )
    return parser


def carry_out(job: JobPlan, command: Sequence[str], redo: str | None = None, print_config: bool = False) -> None:
    """Goes through a job, or prints what it would do.

    Args:
        job: The job with its configuration.
        command: What `lit-nas` was given.
        redo: Name of a stage that is done again, with those behind it.
        print_config: Whether the configuration of the stages is printed instead.

    Raises:
        ValueError: for a section that `lit-nas fit` would refuse; before any training.
        FileExistsError: if the folder holds a job of another configuration.
    """
    checks, proposals = Checks(job, command), look_ahead(job.job, job.folder, redo)
    stages = [stage for proposal in proposals for stage in proposal]
    configs = {stage.name: checks.resolve(stage)[1] for stage in stages}
    if print_config:
        sys.stdout.write(yaml.safe_dump({**job.described, **configs}, sort_keys=False))
        return
    redone = _redone(checks, proposals, redo)
    if redo is None or redo != stages[0].name:
        job.refuse_other_job()
    for stage in stages:
        if stage.name not in redone:
            checks.prepare(stage)
    with explained(), full_disk_named(job.folder):
        checks.rehearse(stages, redone)
        _set_aside(job, redone)
        _execute(job, checks, stages)


def _redone(checks: Checks, proposals: Sequence[Sequence[Stage]], first: str | None) -> list[str]:
    """The names of the stages to do again: the first one, unless that is being done already, and those behind it.

    What lies behind it was proposed later; other stages of its group and other chains do not depend on it.

    Raises:
        ValueError: for a stage that the job does not have, or under a launcher, whose processes would move the same
            folders.
    """
    stages = {stage.name: stage for proposal in proposals for stage in proposal}
    if first is not None and first not in stages:
        raise ValueError(f"--redo {first}: the job has no such stage yet. It has {', '.join(stages)}.")
    if first is None or not is_rank_zero():  # processes that the Trainer starts find the old stages moved
        return []
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_STEP_ID" in os.environ:
        raise ValueError(
            "--redo moves folders and works in one process only. Start it without torchrun or srun "
            "(trainer.devices starts the others), or move the old folders away by hand."
        )
    folder, stage = checks.plan.folder, stages[first]
    (place,) = (place for place, proposal in enumerate(proposals) if stage in proposal)
    before = {each.name for proposal in proposals[: place + 1] for each in proposal}
    behind = [name for name in stages if name not in before and (folder / name).exists()]
    # a job proposes the others once it knows what the stages before them have found
    begun = sorted(path.parent.name for path in folder.glob(f"*/{ORDER}"))
    behind += [name for name in begun if name not in stages and not ASIDE.search(name)]
    chain_of = checks.plan.job.chain_of
    behind = [name for name in behind if chain_of(name) == chain_of(first)]
    return [*([first] if is_finished(stage, folder) or checks.changed(stage) else []), *behind]


def _set_aside(job: JobPlan, stages: Sequence[str]) -> None:
    """Gives the folders of stages that are done again other names: `retrain` becomes `retrain-1`."""
    results = job.folder / "results.json"
    for name in stages:
        folder = job.folder / name
        if not folder.exists():
            continue
        number = 1
        while (aside := folder.with_name(f"{name}-{number}")).exists():
            number += 1
        folder.rename(aside)
        if name == stages[-1] and results.exists():
            results.rename(aside / results.name)
        sys.stdout.write(f"The old {folder} is kept as {aside}.\n")


def _execute(job: JobPlan, checks: Checks, stages: Sequence[Stage]) -> None:
    clock = JobClock(job.folder, getattr(job.executor, "parallel", 1), job.job.outlines_all)
    for stage in stages:
        clock.know(stage, checks.resolve(stage)[1])

    def prepare(stage: Stage) -> Order:
        order = checks.prepare(stage)
        clock.know(stage, checks.resolve(stage)[1])
        return order

    def announce(stage: Stage, before: bool) -> None:
        clock.write()
        name = "retrain and test" if stage.name == "retrain" else stage.name
        heading(f"{name}: {'finished before' if before else job.folder / stage.name}")

    executor: Executor = InThisProcess() if launched() else job.executor
    os.environ[COMMAND] = resume_command()
    try:
        if is_rank_zero():
            job.record()
        history = advance(job.job, job.folder, prepare, executor, fit_stage, announce)
    finally:
        del os.environ[COMMAND]
        clock.stop()
    if is_rank_zero():
        versions = {"lit_nas": lit_nas.__version__, "torch": torch.__version__, "python": platform.python_version()}
        results = {**job.job.results(history), "seed": job.seed, "versions": versions}
        write_text(job.folder / "results.json", json.dumps(results, indent=2) + "\n")
        job.job.write(results, job.folder)
        conclude_job(_summary(job, results), next_of_job(job.folder))


def _summary(job: JobPlan, results: dict[str, Any]) -> str:
    lines = {**job.job.summary(results), "folder": str(job.folder), "results": "results.json"}
    if (job.folder / "search" / "genotype.json").exists():
        lines["cell"] = "search/genotype.json and its picture"
    if (job.folder / "retrain" / "checkpoints" / "last.ckpt").exists():
        lines["checkpoint"] = "retrain/checkpoints/last.ckpt"
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())
