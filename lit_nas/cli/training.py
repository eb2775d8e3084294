"""One fit: LightningCLI with the modules of lit-nas."""

import inspect
import logging
import os
import re
import secrets
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # about Lightning's calls, not about ours

import yaml
from jsonargparse import set_parsing_settings
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities import rank_zero_warn

# imported so that their classes can be named without their module
import lit_nas.data
import lit_nas.derivation
import lit_nas.engine
import lit_nas.evaluate
import lit_nas.methods
import lit_nas.spaces
from lit_nas.callbacks import (
    ExplainMemory,
    KeepRandomState,
    LogAlphas,
    MeasureCost,
    SaveCheckpoints,
    StopOnSignal,
    WriteGenotype,
    find_last,
)
from lit_nas.callbacks.folder import run_folder, writes
from lit_nas.files import write_text
from lit_nas.loggers import RewindCurves, RunLogger
from lit_nas.module import RecordedModule, read_checkpoint
from lit_nas.names import import_class
from lit_nas.recipe import default_arguments, differences
from lit_nas.search import SearchModule

__all__ = ("TrainingCLI", "default_callbacks", "train")

set_parsing_settings(docstring_parse_attribute_docstrings=True)

COMMANDS = ("fit", "validate", "test", "predict")


def default_callbacks(module: LightningModule) -> list[Callback]:
    """What a run gets unless its configuration lists a callback of the same class.

    Args:
        module: What is fitted.
    """
    callbacks: list[Callback] = [KeepRandomState(), MeasureCost(), RewindCurves(), ExplainMemory()]
    if isinstance(module, SearchModule):
        callbacks += [LogAlphas(), WriteGenotype()]
    return [*callbacks, SaveCheckpoints(), StopOnSignal()]


class SaveRunConfig(SaveConfigCallback):
    """Writes the resolved configuration to `config.yaml` in the run folder when the first step begins.

    Not before: what is refused until then must neither make its folder one that holds a run, nor replace the
    configuration of the run that it was to continue. If a run continues with keys that may change, its configuration
    until then is kept as `config-0001.yaml`, `config-0002.yaml` and so on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})
        self._written = False

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves it to `on_train_batch_start`."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Writes the file, once."""
        if writes(trainer) and not self._written:
            config = self.config.clone()
            if "ckpt_path" in config:
                config.ckpt_path = None  # where it continued from is no part of what it is
            path, text = run_folder(trainer) / "config.yaml", self.parser.dump(config, skip_none=False)
            if path.exists() and _differ(path.read_text(encoding="utf-8"), text):
                count = len(list(path.parent.glob("config-[0-9]*.yaml")))
                path.replace(path.with_name(f"config-{count + 1:04d}.yaml"))
            write_text(path, text)
        self._written = True


def _differ(old: str, new: str) -> bool:
    before, now = ({**yaml.safe_load(text), "ckpt_path": None} for text in (old, new))
    return bool(differences(before, now, {"trainer": default_arguments(Trainer)}))


class WritePredictions(Callback):
    """Writes `predictions.csv` into the run folder: number of the test image, predicted class."""

    def __init__(self) -> None:
        self._classes: list[int] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects a batch.

        Raises:
            ValueError: over several processes, whose shares of the images are interleaved.
        """
        if trainer.world_size > 1:
            raise ValueError("lit-nas predict runs in one process: set trainer.devices to 1.")
        self._classes += outputs.tolist()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file and says where it is."""
        if writes(trainer):
            path = run_folder(trainer) / "predictions.csv"
            write_text(path, "image,class\n" + "".join(f"{i},{c}\n" for i, c in enumerate(self._classes)))
            sys.stdout.write(f"{path}\n")


class TrainingCLI(LightningCLI):
    """LightningCLI whose data describe themselves to the model, and whose runs have a folder each."""

    def __init__(self, args: Sequence[str], run: bool = True, parse_only: bool = False) -> None:
        self.parse_only = parse_only
        quiet()
        commands = {name: {"exit_on_error": False} for name in COMMANDS} if run else {}
        super().__init__(
            RecordedModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_callback=SaveRunConfig,
            seed_everything_default=0,
            trainer_defaults={"use_distributed_sampler": False},  # the loaders of lit-nas shard themselves
            parser_kwargs={"prog": "lit-nas", "exit_on_error": False, **commands},
            args=list(args),
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Lets the shape of the images flow from the data into the model."""
        parser.link_arguments("data.inputs", "model.init_args.inputs", compute_fn=asdict, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Sequence[str]) -> None:
        """Parses what `main` was given, which need not be the arguments of the process."""
        try:
            self.config = parser.parse_args(args)
        except Exception as error:
            raise _innermost(error) from error

    def _parse_ckpt_path(self) -> None:
        """The command line wins over a checkpoint; the module refuses one that does not fit."""

    def before_instantiate_classes(self) -> None:
        """Gives a run the same id at Weights & Biases in every process that continues it."""
        config = self._get(self.config, "trainer")
        loggers = config.logger if isinstance(config.logger, list) else [config.logger]
        for logger in loggers:
            if str(getattr(logger, "class_path", "")).endswith("WandbLogger") and logger.init_args.get("id") is None:
                path = self._folder() / "wandb_id"
                if not path.exists() and not self.parse_only and not config.fast_dev_run:
                    write_text(path, secrets.token_hex(4))
                logger.init_args["id"] = path.read_text(encoding="utf-8") if path.exists() else None

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
        elif (folder / "config.yaml").exists() and not self.trainer.fast_dev_run:
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
        """Finds the checkpoint whose weights are used."""
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
        try:
            super().instantiate_classes()
        except Exception as error:
            raise _innermost(error) from error

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
            if self.subcommand == "predict":
                callbacks = [*callbacks, WritePredictions()]
            given = config["callbacks"] or []
            given = given if isinstance(given, list) else [given]
            saves = config["enable_checkpointing"] is not False
            for callback in default_callbacks(self.model):
                listed = any(isinstance(other, type(callback)) for other in given)
                if not listed and (saves or not isinstance(callback, Checkpoint)):
                    callbacks = [*callbacks, callback]
        return super()._instantiate_trainer(config, callbacks)


def _read(path: str | Path) -> None:
    if path == "best":
        raise ValueError("--ckpt_path best is not kept: the last epoch counts. Use `last` or the path of a checkpoint.")
    read_checkpoint(path)


def _innermost(error: BaseException) -> BaseException:
    """The sentence of lit-nas within what the parser made of it, or the parser's without its objects."""
    chain, link = [], error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in reversed(chain):
        frame = link.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        if frame is not None and isinstance(link, (ValueError, OSError)):
            raised_in = str(frame.tb_frame.f_globals.get("__name__"))
            if raised_in.startswith("lit_nas.") and not raised_in.startswith("lit_nas.cli"):
                return link
    if not isinstance(error, (ValueError, TypeError, ArgumentError)):
        return error
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_PARSER_ONLY)]
    return ValueError(" ".join([*lines, *_known(str(error))]))


_PARSER_ONLY = (  # what the parser says of its own workings
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
    "Given value",
)


def _known(message: str) -> list[str]:
    """What could have been written instead of an unknown class or parameter."""
    class_path = re.search(r"given class_path '([\w.]+)'", message)
    if class_path and "is not accepted" in message:
        parameters = inspect.signature(import_class(class_path[1])).parameters
        return [f"by {class_path[1]}, but these are: {', '.join(parameters)}."]
    if "dot import path string" in message or "Unable to import" in message:
        data = [name for name in lit_nas.data.__all__ if name.endswith("DataModule")]
        known = data if 'Parser key "data"' in message else ["EvaluationModule", *lit_nas.methods.__all__]
        return [f"The classes of lit-nas are: {', '.join(known)}."]
    return []


def quiet() -> None:
    """Takes out messages that are about Lightning's own code or its vendor's products."""
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")  # a run without validation
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(lambda r: "litlogger" not in r.getMessage())


def train(command: str, args: Sequence[str]) -> None:
    """Runs one of `fit`, `validate`, `test`, `predict`.

    Args:
        command: Which one.
        args: Its arguments.
    """
    TrainingCLI([command, *args])
