"""The base of every trainable module: it knows how it was made, and its checkpoints say so."""

from abc import ABC
from collections.abc import Sequence
from contextvars import ContextVar
from inspect import isabstract
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torchmetrics import Metric

from lit_nas import __version__
from lit_nas.internals import NormKind, batches_that_stepped, data_of, is_attached, record_arguments
from lit_nas.record.archive import read_archive
from lit_nas.record.changes import compare_arguments, compare_run, refuse, run_settings, weights_differ
from lit_nas.record.layer_sync import replace_layer_sync
from lit_nas.record.migrations import FORMAT_VERSION, migrate
from lit_nas.record.names import current_name, import_class, public_name
from lit_nas.record.own_modules import import_trusted
from lit_nas.record.plain import build, plain
from lit_nas.record.replaced import with_present_classes
from lit_nas.specs import Spec

__all__ = ("RecordedModule", "load_module", "read_checkpoint")

TRUSTED = ("lit_nas", "torch.optim")
"""Packages that a checkpoint file may have imported."""
_rebuilding: ContextVar[dict[str, Any] | None] = ContextVar("rebuilding", default=None)
"""Arguments of the module that is being rebuilt from a checkpoint, in the plain form that they have there."""


class RecordedModule(LightningModule, ABC):
    """Records the constructor call of its final class as plain data.

    The record goes to loggers and into checkpoints, from which `load_module` rebuilds the module; checkpoints hold
    builtins and tensors only and load with `weights_only=True`. The constructor takes no arguments, so that the
    arguments recorded are those of the final class.

    A run that continues from a checkpoint must have the arguments, and the settings of Trainer and data, on which its
    finished steps depended (see `lit_nas.record.changes`); any other difference is refused.
    """

    spec: Spec
    spec_class: ClassVar[type[Spec]] = Spec
    """The kind of data that the module is for; the base class of a kind says so."""
    network: nn.Module
    paper_batch_size: int | None = None
    """Samples of each batch in the paper, to which its learning rates belong; None where there is no paper."""
    free: Sequence[str] = ("model.engine", "model.optim.graphs")
    """Keys that may change when a run continues, because steps do not depend on them but for rounding."""

    def __init__(self) -> None:
        super().__init__()
        arguments = _rebuilding.get()
        if arguments is None:
            self.save_hyperparameters()
            if isinstance(spec := self.hparams.get("spec"), Spec):  # the command line has checked before
                self.check_spec(spec)
            arguments = plain({key: value for key, value in self.hparams.items() if not key.startswith("_")})
        record_arguments(self, arguments)
        self._batches: int | None = None  # in each epoch of the run that is continued

    @classmethod
    def check_spec(cls, spec: Any, origin: str = "spec") -> None:
        """Refuses what describes another kind of data than that of the module.

        Args:
            spec: What should be of `spec_class`.
            origin: What gives it, at the beginning of the message.

        Raises:
            ValueError: naming both kinds.
        """
        if not isinstance(spec, cls.spec_class):
            kind = cls.spec_class
            raise ValueError(
                f"{origin} is {spec!r}, but {cls.__name__} is a model for {kind.samples}, described by "
                f"{kind.__name__}: choose data of that kind, or a model for these data."
            )

    def record(self) -> dict[str, Any]:
        """Further plain data for the checkpoint; final classes may extend it."""
        return {}

    def rank_state(self) -> dict[str, Tensor]:
        """Tensors of this process alone, with which it continues: the hidden states of its token sequences, say.

        The state dict, which the checkpoint holds once, is that of rank 0; these are saved for every rank.
        """
        return {}

    def load_rank_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what `rank_state` gave on this rank, when a run continues.

        Args:
            state: By name, on the CPU.
        """

    def spans_run(self) -> str:
        """What depends on `trainer.max_epochs`, in words; empty if nothing does, so that a run can be made longer."""
        return "what is scheduled over the run depended on it"

    def run_settings(self) -> dict[str, Any]:
        """What of Trainer and data finished steps depend on, see `lit_nas.record.changes.run_settings`."""
        return run_settings(self.trainer)

    def log_now(self, values: dict[str, Tensor | float], prog_bar: bool = False) -> None:
        """Passes scalars to all loggers at once, and to progress bar and `trainer.callback_metrics`.

        Lightning passes on what is logged in training only after the checkpoint of that step has been written, so a
        run that continues from it would miss one entry of the curves.

        Args:
            values: By name.
            prog_bar: Whether the progress bar shows them.
        """
        step = batches_that_stepped(self.trainer)
        numbers = {name: float(value) for name, value in values.items()}
        for logger in self.trainer.loggers:
            logger.log_metrics({**numbers, "epoch": self.current_epoch}, step)
        self.log_dict(numbers, logger=False, prog_bar=prog_bar, on_step=None, on_epoch=None)

    def setup(self, stage: str) -> None:
        """Refuses a data module whose data are not what the network was built for; arranges `sync_batchnorm`.

        Raises:
            ValueError: if the two differ.
        """
        data = data_of(self.trainer)
        offered = getattr(data, "spec", self.spec)  # data of the user's own need not say
        self.check_spec(offered, f"{type(data).__name__}.spec")
        if offered != self.spec:
            raise ValueError(
                f"The network was built for {self.spec}, but {type(data).__name__} hands over {offered}. "
                "Leave model.spec out on the command line, or pass `spec=data.spec` in Python."
            )
        replace_layer_sync(self.trainer.strategy)

    def on_validation_start(self) -> None:
        """Gives all ranks the running statistics of rank 0, which are those that a checkpoint holds.

        DDP does so before each training step, but not before a validation, whose result would then depend on whether
        the run has been interrupted.
        """
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_test_start(self) -> None:
        """Gives all ranks the running statistics of rank 0, see `on_validation_start`."""
        self.on_validation_start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the record, and what each rank has of its own. All ranks call it.

        Metrics are such a thing, because means of an epoch are taken over the shards of the data.
        """
        metrics: list[dict[str, Tensor]] = []
        states = [own := {name: value.cpu() for name, value in self.rank_state().items()}]
        if is_attached(self) and self.trainer.world_size > 1:
            metrics = [{} for _ in range(self.trainer.world_size)]
            states = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(metrics, self._metrics())
            torch.distributed.all_gather_object(states, own)
        checkpoint["lit_nas"] = {
            "version": FORMAT_VERSION,
            "release": __version__,
            "class_path": public_name(type(self)),
            "init_args": dict(self.hparams),
            "run": {} if not is_attached(self) else self.run_settings(),
            "metrics": metrics,
            **({"rank_state": states} if any(states) else {}),
            **self.record(),
        }

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, trust: Sequence[str] = ()
    ) -> "RecordedModule":
        """Rebuilds the module of a checkpoint, see `load_module`.

        Raises:
            ValueError: if it was written by another class.
        """
        module = load_module(checkpoint_path, trust)
        if not isinstance(module, cls):
            raise ValueError(f"'{checkpoint_path}' was written by {type(module).__name__}, not by {cls.__name__}.")
        return module

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Brings a checkpoint to the present format, and refuses one of another class or with other settings.

        Nothing that the checkpoint names is imported: what is trusted is the module that takes its state.

        Raises:
            ValueError: naming what differs.
        """
        checkpoint.update(_read_record(checkpoint, "The checkpoint"))
        record = checkpoint["lit_nas"]
        if (found := current_name(record["class_path"])) != public_name(type(self)):
            found = found.rpartition(".")[2]
            raise ValueError(
                f"The checkpoint was written by {found}, but the model is {type(self).__name__}. Choose the "
                f"model `{found}`, or a checkpoint of {type(self).__name__}."
            )
        self._refuse_changes(checkpoint)
        if is_attached(self):  # Lightning does so after it has loaded the state, which would be rounded
            self.trainer.precision_plugin.convert_module(self)
        self._complete_state(checkpoint["state_dict"])
        metrics = record.get("metrics", ())
        if metrics and is_attached(self) and self.trainer.world_size == len(metrics):
            checkpoint["state_dict"].update(metrics[self.trainer.global_rank])
        fits = is_attached(self) and self.trainer.state.fn == TrainerFn.FITTING
        if fits and (states := record.get("rank_state")):  # of as many processes, or it has been refused by now
            self.load_rank_state(states[self.trainer.global_rank])

    def on_train_start(self) -> None:
        """Refuses to continue with epochs of another length, which is not known before.

        Raises:
            ValueError: naming both lengths.
        """
        batches, self._batches = self._batches, None
        if batches is not None and batches != self.trainer.num_training_batches:
            raise ValueError(
                f"The checkpoint was made with {batches} batches in each epoch, but there are "
                f"{self.trainer.num_training_batches}. Hand over the same training data, and set "
                "trainer.limit_train_batches as it was."
            )

    def _refuse_changes(self, checkpoint: dict[str, Any]) -> None:
        record, found = checkpoint["lit_nas"], compare_arguments(checkpoint["lit_nas"]["init_args"], self)
        if not is_attached(self) or self.trainer.state.fn != TrainerFn.FITTING:
            refuse(weights_differ(found))
            return
        run, reason = record.get("run") or {}, self.spans_run()
        if run.get("processes", self.trainer.world_size) != self.trainer.world_size:
            raise ValueError(
                f"The checkpoint was written by {run['processes']} processes and cannot be continued exactly by "
                f"{self.trainer.world_size}: each process has its share of a batch, and statistics and random numbers "
                f"of its own. Set trainer.devices and trainer.num_nodes so that they make {run['processes']} "
                "processes, or start a new run."
            )
        self._batches = run.get("batches")
        free = (*self.free, *(() if reason else ("trainer.max_epochs",)))
        refuse([*found, *compare_run(run, self.run_settings())], free, {"trainer.max_epochs": reason})

    def _complete_state(self, theirs: dict[str, Tensor]) -> None:
        """Checks names and shapes of all tensors.

        State that the checkpoint lacks, because its release did not have it, keeps its initial value; but for
        parameters and running statistics, whose initial values are none that a trained network could have.
        """
        ours, parameters = self.state_dict(), [name for name, _ in self.named_parameters()]
        norms = [(name, module) for name, module in self.named_modules() if isinstance(module, NormKind)]
        learnt = {*parameters, *(f"{name}.{buffer}" for name, norm in norms for buffer, _ in norm.named_buffers())}
        if new := sorted(ours.keys() - theirs.keys() - learnt):
            rank_zero_warn(
                f"The checkpoint is of a release without the state {', '.join(map(repr, new))}, which begins with its "
                "initial value."
            )
            theirs.update({name: ours[name].detach().clone() for name in new})
        shapes = [{name: list(value.shape) for name, value in side.items()} for side in (ours, theirs)]
        names = shapes[0].keys() | shapes[1].keys()
        if different := sorted(name for name in names if shapes[0].get(name) != shapes[1].get(name)):
            name = different[0]
            raise ValueError(
                f"The checkpoint does not fit the model: {len(different)} tensors differ in name or shape, "
                f"'{name}' for one ({shapes[1].get(name)} there, {shapes[0].get(name)} here). It was "
                "made with other settings of the space, the network or the data."
            )

    def _metrics(self) -> dict[str, Tensor]:
        prefixes = tuple(f"{name}." for name, module in self.named_modules() if isinstance(module, Metric))
        return {name: value.cpu() for name, value in self.state_dict().items() if name.startswith(prefixes)}


def _read_record(checkpoint: Any, name: str) -> dict[str, Any]:
    """The checkpoint in the present format, once it is clear that lit-nas wrote it."""
    record = checkpoint.get("lit_nas") if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict) or not isinstance(record.get("class_path"), str):
        raise ValueError(f"{name} was not written by lit-nas: it has no `lit_nas` record.")
    if not isinstance(record.get("init_args"), dict):
        raise ValueError(f"{name} does not say how its module was made (`lit_nas.init_args`).")
    found = migrate(checkpoint, name)
    arguments = with_present_classes(found["lit_nas"]["init_args"])
    return {**found, "lit_nas": {**found["lit_nas"], "init_args": arguments}}


def _check_trust(value: Any, name: str, packages: Sequence[str]) -> None:
    """Refuses a record that would make the reader import other packages than these."""
    if isinstance(value, dict):
        path = str(value.get("class_path", packages[0]))
        if not any(f"{path}.".startswith(f"{package}.") for package in packages):
            raise ValueError(
                f"{name} names the class '{path}', which is neither of lit-nas nor an optimiser of torch. If you trust "
                f"its package, allow it to be imported: load_module(path, trust=('{path.partition('.')[0]}',))."
            )
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_trust(item, name, packages)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file of lit-nas, and imports and executes nothing that it names.

    Args:
        path: The file.

    Returns:
        The checkpoint in the present format, whatever the format of the file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or not of lit-nas.
    """
    return _read_record(read_archive(path), f"'{path}'")


def load_module(path: str | Path, trust: Sequence[str] = ()) -> RecordedModule:
    """Rebuilds the module of a checkpoint, with its tensors, on the CPU.

    Args:
        path: A checkpoint file.
        trust: Packages besides lit-nas and torch.optim whose classes the file may have imported, which executes their
            code: those of a method, a relaxation or an optimiser of your own.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged, not of lit-nas, or names a class of a package that is not trusted.
    """
    checkpoint = read_checkpoint(path)
    record = checkpoint["lit_nas"]
    made = {key: record[key] for key in ("class_path", "init_args")}
    _check_trust(made, f"'{path}'", (*TRUSTED, *trust))
    import_trusted((record.get("genotype") or {}).get("meta") or {}, trust)
    token = _rebuilding.set(record["init_args"])
    try:
        found = import_class(record["class_path"])
        if not issubclass(found, RecordedModule) or isabstract(found):
            raise ValueError(f"'{record['class_path']}' is not a module of lit-nas.")
        module = build(found, record["init_args"])
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ValueError(f"The module of '{path}' cannot be rebuilt: {error}") from error
    finally:
        _rebuilding.reset(token)
    return module
