"""One fit: LightningCLI with the modules of lit-nas."""

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # about Lightning's calls, not about ours

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, ModelSummary, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.model_helpers import is_overridden

# imported so that their classes can be named without their module
import lit_nas.data
import lit_nas.derivation
import lit_nas.engine
import lit_nas.methods
import lit_nas.retrain
import lit_nas.spaces  # noqa: F401
from lit_nas.callbacks import ShowProgress, SummariseModel, WritePredictions, default_callbacks
from lit_nas.cli.arguments import check_arguments
from lit_nas.cli.explain import explained
from lit_nas.cli.layers import with_present_files
from lit_nas.cli.loggers import name_loggers
from lit_nas.cli.nulls import refuse_nulls
from lit_nas.cli.part_arguments import check_values
from lit_nas.cli.quiet import quiet
from lit_nas.cli.run_config import SaveRunConfig
from lit_nas.cli.screen import ConcludeFit, resume_command
from lit_nas.cli.trainer_messages import check_trainer_keys
from lit_nas.internals import is_trial
from lit_nas.record.names import import_class
from lit_nas.record.recorded_module import RecordedModule, read_checkpoint
from lit_nas.record.run_folder import run_folder
from lit_nas.resume import RunLogger, StopOnSignal, find_last
from lit_nas.retrain import Retraining
from lit_nas.specs import Spec
from lit_nas.trackers import identify

__all__ = ("TrainingCLI", "train")

set_parsing_settings(docstring_parse_attribute_docstrings=True)

COMMANDS = ("fit", "validate", "test", "predict")


class TrainingCLI(LightningCLI):
    """LightningCLI whose data describe themselves to the model, and whose runs have a folder each."""

    def __init__(self, args: Sequence[str], run: bool = True, parse_only: bool = False) -> None:
        self.parse_only = parse_only
        quiet()
        commands = {name: {"exit_on_error": False, "allow_abbrev": False} for name in COMMANDS} if run else {}
        super().__init__(
            RecordedModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=SaveRunConfig,
            seed_everything_default=0,
            trainer_defaults={"use_distributed_sampler": False},  # the loaders of lit-nas shard themselves
            parser_kwargs={"prog": "lit-nas", "exit_on_error": False, "allow_abbrev": False, **commands},
            args=list(args),
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Lets what data and model must agree on flow from the data into the model."""
        parser.link_arguments("data.spec", "model.init_args.spec", compute_fn=self._hand_over, apply_on="instantiate")

    def _hand_over(self, spec: Spec) -> dict[str, Any]:
        """What the data hand to the model, in the form that the parser takes.

        Raises:
            ValueError: if the model is for another kind of data.
        """
        model, data = (self._get(self.config, name).class_path for name in ("model", "data"))
        if issubclass(found := import_class(model), RecordedModule):  # the parser takes no other model
            found.check_spec(spec, f"What {data.rpartition('.')[2]} hands over (data.spec)")
        return {field.name: getattr(spec, field.name) for field in fields(spec)}  # a task as it is

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses what `main` was given, which need not be the arguments of the process."""
        check_arguments(args)
        with explained():
            self.config = parser.parse_args(with_present_files(args))
        command = self.config.get("subcommand")
        given = self.config if command is None else self.config[command]
        refuse_nulls("model", given.get("model"), frozenset({"spec"}))  # the data hand it over
        refuse_nulls("data", given.get("data"))

    def _parse_ckpt_path(self) -> None:
        """The command line wins over a checkpoint; the module refuses one that does not fit."""

    def before_instantiate_classes(self) -> None:
        """Tells each logger which run it is, the same in every process that continues it."""
        config = self._get(self.config, "trainer")
        model, data = self._get(self.config, "model"), self._get(self.config, "data")
        kind = "retrain" if issubclass(import_class(model.class_path), Retraining) else "search"
        space = getattr(model.init_args.get("space"), "class_path", None)
        tags = [each.rpartition(".")[2] for each in (model.class_path, space, data.class_path) if each]
        may_write = not self.parse_only and not config.fast_dev_run
        name_loggers(config.logger, identify(self._folder(), kind, tags), may_write)

    def _folder(self) -> Path:
        folder = self._get(self.config, "trainer").default_root_dir
        return Path(folder or Path("runs") / self._get(self.config, "model").class_path.rpartition(".")[2].lower())

    def before_fit(self) -> None:
        """Finds the checkpoint to continue from, and refuses to fit in the folder of another run.

        Raises:
            FileExistsError: if a run started there and is not being continued.
        """
        folder, config = run_folder(self.trainer), self.config_init["fit"]
        if config.ckpt_path == "last":
            path, remark = find_last(folder)
            if remark or path is None:
                rank_zero_warn(remark or f"The folder '{folder}' has no checkpoint yet: starting from the beginning.")
            config.ckpt_path = path
        elif config.ckpt_path is not None:
            _read(config.ckpt_path)
        elif (folder / "config.yaml").exists() and not is_trial(self.trainer):
            raise FileExistsError(
                f"The folder '{folder}' holds a run already. Continue it with `--ckpt_path last`, or choose "
                "another folder with `--trainer.default_root_dir`."
            )

    def before_validate(self) -> None:
        """Finds the checkpoint whose weights are used."""
        self._find_weights("validate")

    def before_test(self) -> None:
        """Finds the checkpoint whose weights are used."""
        self._find_weights("test")

    def before_predict(self) -> None:
        """Finds the checkpoint whose weights are used.

        Raises:
            ValueError: if the model predicts nothing.
        """
        if not any(is_overridden(name, self.model) for name in ("predict_step", "forward")):
            raise ValueError(
                f"`lit-nas predict` writes what a model says of images, but {type(self.model).__name__} has no such "
                "answer: `lit-nas test` says how well it does."
            )
        self._find_weights("predict")

    def _find_weights(self, command: str) -> None:
        config, folder = self.config_init[command], run_folder(self.trainer)
        if config.ckpt_path is None:
            raise ValueError(
                f"`lit-nas {command}` needs weights: --ckpt_path with a checkpoint, or `--ckpt_path last` for that of "
                f"the run in '{folder}'."
            )
        if config.ckpt_path == "last":
            config.ckpt_path, remark = find_last(folder)
            if remark:
                rank_zero_warn(remark)
            if config.ckpt_path is None:
                raise FileNotFoundError(f"The folder '{folder}' has no checkpoint.")
        else:
            _read(config.ckpt_path)

    def _set_seed(self) -> None:
        if not self.parse_only:
            super()._set_seed()

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, unless the configuration is only to be parsed.

        Raises:
            ValueError: what a constructor of lit-nas refused, without the parser's account of it.
        """
        if self.parse_only:
            return
        model = self._get(self.config, "model")
        check_values({"class_path": model.class_path, "init_args": _builtins(model.get("init_args"))}, "model")
        trainer = vars(self._get(self.config, "trainer"))
        check_trainer_keys(trainer)
        with explained(trainer, building=True):
            super().instantiate_classes()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Gives the run a folder and adds the logger and the callbacks that the configuration leaves out."""
        folder = self._folder()
        config["default_root_dir"] = str(folder)
        if not config["fast_dev_run"]:
            if config["logger"] is not False:  # exact curves in the run folder, whatever tracks the run besides
                given = config["logger"] if isinstance(config["logger"], list) else [config["logger"]]
                given = [logger for logger in given if logger not in (None, True)]
                if not any(isinstance(logger, CSVLogger) for logger in given):
                    config["logger"] = [*given, RunLogger(folder)]
            if SLURMEnvironment.detect():  # StopOnSignal puts the job back into the queue, at a safe moment
                config["plugins"] = [*(config["plugins"] or []), SLURMEnvironment(auto_requeue=False)]
            callbacks = [*callbacks, *self._missing_callbacks(config)]
        return super()._instantiate_trainer(config, callbacks)

    def _missing_callbacks(self, config: dict[str, Any]) -> list[Callback]:
        """Callbacks that this command needs and the configuration of the Trainer neither lists nor rules out."""
        given = config["callbacks"] or []
        given = given if isinstance(given, list) else [given]
        resolved = self.config.get(str(self.subcommand), self.config)
        resolved = self._parser(self.subcommand).dump(resolved, skip_none=False)
        wanted = default_callbacks(self.model, yaml.safe_load(resolved))
        if config["enable_checkpointing"] is False:
            wanted = [callback for callback in wanted if not isinstance(callback, Checkpoint)]
        if config["enable_progress_bar"] is not False and not any(isinstance(bar, ProgressBar) for bar in given):
            wanted.append(ShowProgress())
        if config["enable_model_summary"] is not False and not any(isinstance(one, ModelSummary) for one in given):
            config["enable_model_summary"] = False  # Lightning's, which would come besides
            wanted.append(SummariseModel())
        if self.subcommand == "predict":
            wanted.append(WritePredictions())
        if self.subcommand == "fit":  # a whole job has an end of its own
            wanted.append(ConcludeFit())
        missing = [callback for callback in wanted if not any(isinstance(other, type(callback)) for other in given)]
        for callback in (*given, *missing):
            if isinstance(callback, StopOnSignal):
                callback.command = resume_command()
        return missing


def _builtins(value: Any) -> Any:
    """Namespaces of the parser as mappings."""
    if isinstance(value, Namespace):
        return {name: _builtins(each) for name, each in vars(value).items()}
    return [_builtins(each) for each in value] if isinstance(value, (list, tuple)) else value


def _read(path: str | Path) -> None:
    if path == "best":
        raise ValueError("--ckpt_path best is not kept: the last epoch counts. Use `last` or the path of a checkpoint.")
    read_checkpoint(path)


def train(command: str, args: Sequence[str]) -> None:
    """Runs one of `fit`, `validate`, `test`, `predict`.

    Args:
        command: Which one.
        args: Its arguments.
    """
    with explained():
        if {"-h", "--help"} & set(args):
            _help(command, args)
        else:
            TrainingCLI([command, *args])


def _help(command: str, args: Sequence[str]) -> None:
    """Prints the arguments of a command and of the classes that its arguments name as model and data."""
    named = {}
    for word, following in zip(args, [*args[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--model", "--data"):
            named[f"{name}.help"] = value if equals else following
    for question in (["--help"], *([f"{name}={value}"] for name, value in named.items())):
        try:
            TrainingCLI([command, *question])
        except SystemExit as answered:
            if answered.code:
                raise
