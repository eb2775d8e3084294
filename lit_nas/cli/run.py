"""A whole job: search, derive, retrain, test, each stage skipped when its result is already there."""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

import lit_nas
from lit_nas.atomic_write import write_text
from lit_nas.callbacks import find_last
from lit_nas.cli.explain import explained
from lit_nas.cli.job import EPILOG, STAGES, Job, Stage, plan
from lit_nas.cli.screen import conclude_job, heading
from lit_nas.cli.training import TrainingCLI
from lit_nas.data import ImageDataModule
from lit_nas.derivation import EmptyCellError, default_deriver
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.record.changes import results_differ
from lit_nas.record.names import import_class
from lit_nas.record.plain import Difference, default_arguments, differences
from lit_nas.retrain import EvaluationModule
from lit_nas.search import SearchModule

__all__ = ("run",)


def run(args: Sequence[str]) -> None:
    """Searches, derives, retrains and tests as one job.

    Args:
        args: Arguments of `lit-nas run`.

    Raises:
        ValueError: for unknown keys, or a section that `lit-nas fit` would refuse; before any training.
        FileExistsError: if the folder holds a job of another configuration.
    """
    parser = argparse.ArgumentParser(
        "lit-nas run",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", required=True, type=Path, help="YAML file; later ones win")
    parser.add_argument("--folder", type=Path, help="folder of the job")
    parser.add_argument("--seed_everything", type=int, help="seed of both stages")
    parser.add_argument("--print_config", action="store_true", help="print the configuration of both stages and stop")
    parser.add_argument(
        "--redo",
        choices=STAGES,
        help="do this stage and those behind it again; the folders of the old ones are kept under other names",
    )
    given, words = parser.parse_known_args(args)

    job, configs = _parse(plan(given.config, words, given.folder, given.seed_everything))
    if given.print_config:
        content = {"folder": str(job.folder), "seed_everything": job.seed, **configs}
        sys.stdout.write(yaml.safe_dump(content, sort_keys=False))
        return
    redone = _redone(job, configs, given.redo)
    _refuse_other_configs([stage for stage in job.stages if stage not in redone], configs, ["run", *args])
    with explained():
        _rehearse(job, redone)
        _set_aside(job, redone)
        _execute(job)
    if rank_zero_only.rank == 0:
        write_text(job.folder / "results.json", json.dumps(_results(job), indent=2) + "\n")
        conclude_job(_summary(job.folder))


# -- check -----------------------------------------------------------------------------------------------------------


@contextmanager
def _section(stage: Stage) -> Iterator[None]:
    """Says in which section of the configuration an error lies."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"In the section `{stage.name}`: {error}") from error


def _parse(job: Job) -> tuple[Job, dict[str, Any]]:
    """The job, whose retraining divides the data as its search does, and the configuration of each stage."""
    parsed = {}
    for stage, base in ((job.search, SearchModule), (job.retrain, EvaluationModule)):
        with _section(stage):
            parsed[stage.name] = cli = TrainingCLI(stage.arguments, run=False, parse_only=True)
            found = import_class(cli.config.model.class_path)
            if not issubclass(found, base):
                wanted = "a search" if base is SearchModule else f"a retraining ({base.__name__})"
                raise ValueError(f"its model is {found.__name__}, which is not {wanted}.")
    taken = _split_of_search(parsed["search"].config, parsed["retrain"].config, job.data_of_retraining)
    job = replace(job, retrain=replace(job.retrain, arguments=(*job.retrain.arguments, *taken)))
    with _section(job.retrain):
        parsed["retrain"] = TrainingCLI(job.retrain_arguments, run=False, parse_only=True)
    texts = {name: cli.parser.dump(cli.config, skip_none=False) for name, cli in parsed.items()}
    return job, {name: yaml.safe_load(text) for name, text in texts.items()}


def _split_of_search(search: Any, retrain: Any, named: Collection[str]) -> list[str]:
    """Arguments that give a retraining the split of its search, except for keys that are named for it alone."""
    if search.data.class_path != retrain.data.class_path:
        return []
    searched, retrained = (config.data.get("init_args", {}) for config in (search, retrain))
    taken = []
    for key in ("split", "split_seed", "test_fraction"):
        if key in searched and key in retrained and key not in named and searched[key] != retrained[key]:
            value = searched[key]
            if rank_zero_only.rank == 0:
                sys.stderr.write(f"retrain: data.{key} is {value}, as in the search\n")
            taken += [f"--data.{key}", value if isinstance(value, str) else json.dumps(value)]
    return taken


def _redone(job: Job, configs: Mapping[str, Any], first: str | None) -> list[Stage]:
    """The stages to do again: the first one and those behind it, but for one that is being done already.

    Raises:
        ValueError: under a launcher, whose processes would move the same folders.
    """
    if first is None or rank_zero_only.rank != 0:  # processes that the Trainer starts find the old stages moved
        return []
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_STEP_ID" in os.environ:
        raise ValueError(
            "--redo moves folders and works in one process only. Start it without torchrun or srun "
            "(trainer.devices starts the others), or move the old folders away by hand."
        )
    names = [stage.name for stage in job.stages]
    return [
        stage
        for stage in job.stages[names.index(first) :]
        if stage.result.exists() or _changed(stage, configs[stage.name])
    ]


def _refuse_other_configs(stages: Sequence[Stage], configs: Mapping[str, Any], command: Sequence[str]) -> None:
    for stage in stages:
        if changed := _changed(stage, configs[stage.name]):
            listed = "; ".join(str(difference) for difference in changed)
            raise FileExistsError(
                f"The folder '{stage.folder}' holds a stage of another configuration: {listed}. Choose another "
                "--folder, or do the stage again, which keeps the old one under another name: "
                f"{shlex.join(['lit-nas', *command, '--redo', stage.name])}"
            )


def _changed(stage: Stage, config: Mapping[str, Any]) -> list[Difference]:
    """Where a stage has run with settings that lead to another result."""
    path = stage.folder / "config.yaml"
    if not path.exists() or not (stage.folder / "checkpoints").exists():
        return []
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults = {"trainer": default_arguments(Trainer)}  # of a release whose Trainer had fewer keys
    free = import_class(config["model"]["class_path"]).free
    return results_differ(differences(before, config, defaults), free)


def _rehearse(job: Job, redone: Sequence[Stage]) -> None:
    """Builds what is to run, so that a retraining is refused before the search if at all.

    Where the search is still to run, the genotype of the retraining is that of the search before its first step.
    """
    pending = [stage for stage in job.stages if stage in redone or not stage.result.exists()]
    genotype, held_out = str(job.search.result), None
    if job.search in pending:
        with _section(job.search):
            search = TrainingCLI(job.search.arguments, run=False)
            genotype = json.dumps(_any_genotype(search.model).to_dict())
            held_out = search.datamodule.held_out if isinstance(search.datamodule, ImageDataModule) else None
    elif job.retrain in pending:
        held_out = load_genotype(job.search.result).meta.get("held_out")
    if job.retrain in pending:
        with _section(job.retrain):
            cli = TrainingCLI([*job.retrain.arguments, "--model.genotype", genotype], run=False)
            if held_out is not None and isinstance(cli.datamodule, ImageDataModule):
                cli.datamodule.refuse_leak(held_out)
            cli.trainer.strategy.connect(cli.model)  # the data ask it how they are divided
            cli.datamodule.trainer = cli.trainer
            cli.datamodule.prepare_data()
            cli.datamodule.setup("fit")
            cli.datamodule.train_dataloader()


def _any_genotype(model: SearchModule) -> Genotype:
    """A genotype such as the search may find: at its start, when `none` may be best everywhere, any will do."""
    space = model.architecture.space
    try:
        return model.derive()
    except EmptyCellError:
        return default_deriver(space)(space, model.architecture.importance())


# -- execute ---------------------------------------------------------------------------------------------------------


def _set_aside(job: Job, stages: Sequence[Stage]) -> None:
    """Gives the folders of stages that are done again other names: `retrain` becomes `retrain-1`."""
    for stage in stages:
        if not stage.folder.exists():
            continue
        number = 1
        while (aside := stage.folder.with_name(f"{stage.name}-{number}")).exists():
            number += 1
        stage.folder.rename(aside)
        if stage is job.retrain and (results := job.folder / "results.json").exists():
            results.rename(aside / "results.json")
        sys.stdout.write(f"The old {stage.folder} is kept as {aside}.\n")


def _execute(job: Job) -> None:
    heading(f"search: {'finished before' if job.search.result.exists() else job.search.folder}")
    if not job.search.result.exists():
        _start(job.search, job.search.arguments)
        if not job.search.result.exists():
            raise ValueError(
                "The search ended without a genotype, because a cell has lost every operation; there is nothing to "
                f"retrain. Genotypes of earlier epochs, if there were any, are in {job.search.folder}/genotypes. "
                "Search again with milder pruning and --redo search."
            )
    heading(f"retrain and test: {'finished before' if job.retrain.result.exists() else job.retrain.folder}")
    if not job.retrain.result.exists():
        cli = _start(job.retrain, job.retrain_arguments)
        (scores,) = cli.trainer.test(cli.model, datamodule=cli.datamodule)
        if cli.trainer.is_global_zero:
            write_text(job.retrain.result, json.dumps(scores, indent=2) + "\n")


def _start(stage: Stage, arguments: Sequence[str]) -> TrainingCLI:
    """Fits a stage, from its last checkpoint if there is one."""
    cli = TrainingCLI(arguments, run=False)
    last, remark = find_last(stage.folder)
    if remark:
        rank_zero_warn(remark)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=last)
    return cli


# -- report ----------------------------------------------------------------------------------------------------------


def _results(job: Job) -> dict[str, Any]:
    scores, search, retrain = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (job.retrain.result, *(stage.folder / "cost.json" for stage in job.stages))
    )
    return {
        "genotype": load_genotype(job.search.result).to_dict(),
        "test_accuracy": scores["test/accuracy"],
        "test_loss": scores["test/loss"],
        "search_seconds": search["seconds"],
        "retrain_seconds": retrain["seconds"],
        "search_cost": search,
        "retrain_cost": retrain,
        "seed": job.seed,
        "versions": {
            "lit_nas": lit_nas.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _summary(folder: Path) -> str:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return (
        f"test accuracy  {results['test_accuracy']:.4f}\n"
        f"search         {results['search_seconds']:.0f} s\n"
        f"retraining     {results['retrain_seconds']:.0f} s\n"
        f"folder         {folder}\n"
        "results        results.json\n"
        "cell           search/genotype.json and its picture\n"
        "checkpoint     retrain/checkpoints/last.ckpt"
    )
