"""Checks of a job before any training: each section is parsed, compared with its folder and built."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.model_helpers import is_overridden

from lit_nas.callbacks import CorrelateOperators
from lit_nas.cli.job import JobPlan
from lit_nas.cli.training import TrainingCLI
from lit_nas.derivation import EmptyCellError, default_deriver
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.internals import callbacks_of, is_rank_zero
from lit_nas.jobs import Candidates, FileOf, Order, Stage, is_finished
from lit_nas.jobs.stage import CANDIDATES
from lit_nas.record.changes import results_differ
from lit_nas.record.names import import_class
from lit_nas.record.plain import Difference, default_arguments, differences
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.record.replaced import with_present_classes
from lit_nas.retrain import LanguageRetrainModule, Retraining, RetrainModule
from lit_nas.search import SearchModule
from lit_nas.search.trainer_checks import check_run, check_trainer

__all__ = ("Checks",)

ONE_OF_EACH = ("CorrelateOperators", "MeasureConfusion", "QueryTable")
"""Callbacks that write a file of a name of its own, which jobs read."""
SEARCHED = "model.space.candidates"
"""The key that takes candidates themselves in the place of their file."""


@dataclass
class Checks:
    """Resolves stages, each once, and refuses what cannot work."""

    plan: JobPlan
    command: Sequence[str]
    """What `lit-nas` was given."""
    _resolved: dict[str, tuple[Stage, Order, dict[str, Any]]] = field(default_factory=dict)

    def resolve(self, stage: Stage) -> tuple[Order, dict[str, Any]]:
        """A stage with its arguments, and its configuration with all defaults.

        Args:
            stage: The stage; one whose division of the data it takes must have been resolved before.

        Raises:
            ValueError: if `lit-nas fit` would refuse it, or its model does not belong to its kind.
        """
        if stage.name in self._resolved and self._resolved[stage.name][0] == stage:
            return self._resolved[stage.name][1:]
        folder = self.plan.folder
        own = ("--trainer.default_root_dir", str(folder / stage.name))
        with _section(stage):
            arguments = (*stage.layers(), *self.plan.words(stage.section), *own, *stage.words())
            cli = TrainingCLI([*arguments], run=False, parse_only=True)
            _refuse_other_kind(stage, import_class(cli.config.model.class_path))
            taken = self._division(stage, _dumped(cli)) if stage.divides_as else []
            if found := (*taken, *stage.taken_words(folder)):
                arguments = (*arguments, *found)
                cli = TrainingCLI([*arguments], run=False, parse_only=True)
            _refuse_twice(_dumped(cli)["trainer"]["callbacks"])
        self._resolved[stage.name] = stage, Order(stage, folder / stage.name, arguments), _dumped(cli)
        return self._resolved[stage.name][1:]

    def _division(self, stage: Stage, config: dict[str, Any]) -> list[str]:
        """Arguments that divide the data as another stage does, except for keys that are named for this one alone."""
        if stage.divides_as not in self._resolved:
            raise ValueError(f"it divides its data as the stage `{stage.divides_as}`, which does not come before it.")
        other, named, taken = self._resolved[stage.divides_as][2], self.plan.data_keys(stage.section), list[str]()
        if other["data"]["class_path"] != config["data"]["class_path"]:
            return []
        theirs, ours = (each["data"].get("init_args") or {} for each in (other, config))
        for key in ("split", "split_seed", "test_fraction"):
            free = key not in named and f"data.{key}" not in stage.changes
            if free and key in theirs and key in ours and theirs[key] != ours[key]:
                value = theirs[key]
                if is_rank_zero():
                    as_in = "the search" if stage.divides_as == "search" else stage.divides_as
                    sys.stderr.write(f"{stage.name}: data.{key} is {value}, as in {as_in}\n")
                taken += [f"--data.{key}", value if isinstance(value, str) else json.dumps(value)]
        return taken

    def changed(self, stage: Stage) -> list[Difference]:
        """Where a stage has run with settings that lead to another result.

        Args:
            stage: The stage.
        """
        order, config = self.resolve(stage)
        path = order.folder / "config.yaml"
        if not path.exists() or not (order.folder / "checkpoints").exists():
            return []
        before = with_present_classes(yaml.safe_load(path.read_text(encoding="utf-8")))
        defaults = {"trainer": default_arguments(Trainer)}  # of a release whose Trainer had fewer keys
        model = import_class(config["model"]["class_path"])
        free = model.free if issubclass(model, RecordedModule) else ()
        return results_differ(differences(before, config, defaults), free)

    def prepare(self, stage: Stage) -> Order:
        """The order of a stage whose folder holds no other configuration.

        Args:
            stage: The stage.

        Raises:
            FileExistsError: if it does, naming each key.
        """
        if changed := self.changed(stage):
            listed = "; ".join(str(difference) for difference in changed)
            raise FileExistsError(
                f"The folder '{self.plan.folder / stage.name}' holds a stage of another configuration: {listed}. "
                "Choose another --folder, or do the stage again, which keeps the old one under another name: "
                f"{shlex.join(['lit-nas', *self.command, '--redo', stage.name])}"
            )
        return self.resolve(stage)[0]

    def rehearse(self, stages: Sequence[Stage], redone: Sequence[str]) -> None:
        """Builds what is to run, so that a retraining is refused before its search if at all.

        Where a search is still to run, its genotype is that of the search before its first step, and its candidates are
        all that it begins with. What takes another file of a stage that is still to run is left to its own start.

        Args:
            stages: All that can be told.
            redone: Names of those that are done again.
        """
        folder = self.plan.folder
        pending = [stage for stage in stages if stage.name in redone or not is_finished(stage, folder)]
        unfinished, found = {stage.name for stage in pending}, dict[FileOf, str]()
        held_out = {
            stage.name: load_genotype(folder / stage.name / stage.result).meta.get("held_out")
            for stage in stages
            if stage.kind == "search" and stage not in pending
        }
        for stage in pending:
            arguments = list(self.resolve(stage)[0].arguments)
            missing = {key: file for key, file in stage.takes.items() if file.stage in unfinished}
            if any(file not in found or (file.path == CANDIDATES and key != SEARCHED) for key, file in missing.items()):
                continue
            for key, file in missing.items():
                arguments += [f"--{key}", found[file]]
            with _section(stage):
                cli = TrainingCLI(arguments, run=False)
                if stage.kind == "search":
                    _check_search(cli)
                    found[FileOf(stage.name)] = json.dumps(_any_genotype(cli.model).to_dict())
                    found[FileOf(stage.name, CANDIDATES)] = json.dumps(_all_candidates(cli.model))
                    held_out[stage.name] = getattr(cli.datamodule, "held_out", None)
                else:
                    sources = {file.stage for key, file in stage.takes.items() if key == "model.genotype"}
                    _read_data(cli, [held_out.get(source) for source in sources])
                    cli.datamodule.setup("test")  # by which it is tested in the end
                    cli.datamodule.test_dataloader()
            if stage.kind == "search":
                self.plan.job.check_candidates(Candidates.of(cli.model.architecture))


def _check_search(cli: TrainingCLI) -> None:
    """Refuses what the search itself would refuse, which may be hours later."""
    cli.model.trainer = cli.trainer
    cli.trainer.datamodule = cli.datamodule  # type: ignore[attr-defined]  # where Lightning keeps it
    check_trainer(cli.trainer, cli.model.optim)
    check_run(cli.model)
    _read_data(cli, ())
    for callback in callbacks_of(cli.trainer):
        if isinstance(callback, CorrelateOperators):
            callback.check_images(cli.trainer, cli.model)


def _read_data(cli: TrainingCLI, held_out: Sequence[Any]) -> None:
    """Reads the data of a stage, which refuse too few images, and those of a retraining that its search trained on."""
    for each in held_out:
        if each is not None and hasattr(cli.datamodule, "refuse_leak"):
            cli.datamodule.refuse_leak(each)
    cli.trainer.strategy.connect(cli.model)  # the data ask it how they are divided
    cli.datamodule.trainer = cli.trainer
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    cli.datamodule.train_dataloader()
    if is_overridden("val_dataloader", cli.datamodule):
        cli.datamodule.val_dataloader()


@contextmanager
def _section(stage: Stage) -> Iterator[None]:
    """Says in which section of the configuration an error lies."""
    try:
        yield
    except (ValueError, OSError) as error:
        where = "" if stage.name == stage.section else f" (of the stage `{stage.name}`)"
        raise ValueError(f"In the section `{stage.section}`{where}: {error}") from error


def _refuse_other_kind(stage: Stage, found: type) -> None:
    if not issubclass(found, SearchModule if stage.kind == "search" else Retraining):
        known = f"{RetrainModule.__name__}, or {LanguageRetrainModule.__name__} for text"
        wanted = "a search" if stage.kind == "search" else f"a retraining ({known})"
        raise ValueError(f"its model is {found.__name__}, which is not {wanted}.")


def _refuse_twice(callbacks: Any) -> None:
    """Refuses two callbacks that would write the same file, of which a job may have added one.

    Args:
        callbacks: As a configuration has them: a list, a single one, or none.
    """
    listed = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    names = [str(each["class_path"]).rpartition(".")[2] for each in listed]
    if twice := [name for name in ONE_OF_EACH if names.count(name) > 1]:
        raise ValueError(
            f"trainer.callbacks has {twice[0]} {names.count(twice[0])} times, which write the same file: leave yours "
            "out where the job adds one, or keep one of them."
        )


def _dumped(cli: TrainingCLI) -> dict[str, Any]:
    return dict(yaml.safe_load(cli.parser.dump(cli.config, skip_none=False)))


def _all_candidates(model: SearchModule) -> dict[str, list[tuple[str, ...]]]:
    return {
        name: [cell.names(edge) for edge in range(len(cell.edges))]
        for name, cell in model.architecture.space.cells.items()
    }


def _any_genotype(model: SearchModule) -> Genotype:
    """A genotype such as the search may find: at its start, when `none` may be best everywhere, any will do."""
    space = model.architecture.space
    try:
        return model.derive()
    except EmptyCellError:
        return default_deriver(space)(space, model.architecture.probabilities())
