"""What may change when a run continues from a checkpoint, and what may not."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info

from lit_nas.internals import callbacks_of, data_of, layer_sync_of
from lit_nas.record.names import public_name
from lit_nas.record.plain import Difference, differences, plain

__all__ = ("compare_arguments", "compare_run", "refuse", "results_differ", "run_settings", "weights_differ")

FREE_DATA = tuple(f"data.{name}" for name in ("root", "download", "in_memory", "num_workers", "eval_batch_size"))
"""Arguments of data modules that change neither a training batch nor its order."""
FREE_TRAINER = (
    "accelerator",
    "barebones",
    "benchmark",
    "check_val_every_n_epoch",
    "default_root_dir",
    "detect_anomaly",
    "enable_autolog_hparams",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "limit_val_batches",
    "log_every_n_steps",
    "logger",
    "num_sanity_val_steps",
    "profiler",
    "val_check_interval",
)
"""Arguments of the Trainer that change no step."""
TRAINING_ONLY = tuple(
    f"model.{name}"
    for name in (
        *("deriver", "drop_path", "engine", "keep", "optim"),
        *("order", "product", "pruning", "sampling", "skip_dropout"),
    )
)
"""Arguments of modules that concern training alone."""


def run_settings(trainer: Trainer) -> dict[str, Any]:
    """What the course of a run depends on besides the module, as plain data.

    Args:
        trainer: Of a fit.

    Returns:
        Nested, with the keys that a configuration has, and `processes` and `batches` (an epoch), which follow from
        several of them. A data module tells its arguments by `save_hyperparameters`, a callback by a method `record`.
    """
    seed, batches = os.environ.get("PL_GLOBAL_SEED"), float(trainer.num_training_batches)
    data = data_of(trainer)
    recorded: dict[str, Any] = {}
    for callback in callbacks_of(trainer):
        if hasattr(callback, "record"):
            name, count = type(callback).__name__, 1
            while name in recorded:  # a second one of the same class
                count += 1
                name = f"{type(callback).__name__}-{count}"
            recorded[name] = callback
    return {
        "seed_everything": None if seed is None else int(seed),
        "trainer": {
            "max_epochs": trainer.max_epochs,
            "limit_train_batches": trainer.limit_train_batches,
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "precision": str(trainer.precision),
            "sync_batchnorm": layer_sync_of(trainer.strategy) is not None,
            "callbacks": {name: callback.record() for name, callback in recorded.items()},
        },
        "data": None if data is None else {"class_path": public_name(type(data)), "init_args": _data_arguments(data)},
        "processes": trainer.world_size,
        "batches": int(batches) if math.isfinite(batches) else None,
    }


def _data_arguments(data: LightningDataModule) -> dict[str, Any]:
    found = {}
    for name, value in data.hparams.items():
        try:
            found[name] = plain(value)
        except TypeError:  # a function, say, of a data module of the user's own
            continue
    return {name: value for name, value in found.items() if not name.startswith("_")}


def compare_arguments(old: Mapping[str, Any], module: LightningModule) -> list[Difference]:
    """Where the constructor arguments of a checkpoint and of a module differ, under `model`.

    Args:
        old: `lit_nas.init_args` of the checkpoint.
        module: What is to take its state.
    """
    old, new = ({**arguments} for arguments in (old, module.hparams))
    found: list[Difference] = []
    if _is_genotype(old.get("genotype")) and _is_genotype(new.get("genotype")):
        before, after = (_cells(arguments.pop("genotype")) for arguments in (old, new))
        found = differences(before, after, key="model.genotype")
    name = public_name(type(module))
    before, after = ({"class_path": name, "init_args": arguments} for arguments in (old, new))
    return [*differences(before, after, key="model"), *found]


def _is_genotype(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("cells"), Mapping)


def _cells(genotype: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a genotype, in a form whose keys name a node; name and origin do not count."""
    return {
        "cells": {
            name: {**cell, "nodes": {str(index): node for index, node in enumerate(cell["nodes"])}}
            for name, cell in genotype["cells"].items()
        }
    }


def compare_run(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Where the settings of a run and those of what continues it differ; what was not recorded is not compared.

    Args:
        old: `lit_nas.run` of the checkpoint.
        new: What `run_settings` gives now.
    """
    found = []
    if old.get("seed_everything") is not None and new["seed_everything"] is not None:  # Python needs none
        found += differences({"seed_everything": old["seed_everything"]}, {"seed_everything": new["seed_everything"]})
    if old.get("data") is not None and new["data"] is not None:
        found += differences({"data": old["data"]}, {"data": new["data"]})
    elif "data" in old and old["data"] != new["data"]:
        sides = ("loaders of its own" if each is None else each["class_path"] for each in (old["data"], new["data"]))
        found.append(Difference("data", *sides))
    known = old.get("trainer", {})
    found += differences(known, {key: new["trainer"].get(key) for key in known}, key="trainer")
    return [difference for difference in found if not _under(difference.key, *FREE_DATA)]


def _under(key: str, *prefixes: str) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def results_differ(found: Iterable[Difference], free: Sequence[str]) -> list[Difference]:
    """Those differences of two configurations of a fit that change its result.

    Args:
        found: All differences.
        free: Keys of the module that may change, with all that is below them.
    """
    data, trainer = (f"data.{name}" for name in FREE_DATA), (f"trainer.{name}" for name in FREE_TRAINER)
    free = (*free, *data, *trainer, "ckpt_path")
    return [difference for difference in found if not _under(difference.key, *free)]


def weights_differ(found: Iterable[Difference]) -> list[Difference]:
    """Those differences that make weights belong to another network, rather than to another training of it."""
    return [difference for difference in found if not _under(difference.key, *TRAINING_ONLY)]


def refuse(found: Sequence[Difference], free: Sequence[str] = (), reasons: Mapping[str, str] = {}) -> None:
    """Refuses what cannot take effect any more, and says what does.

    Args:
        found: All differences.
        free: Keys that may change, with all that is below them.
        reasons: Key -> why it may not change, where that is not plain.

    Raises:
        ValueError: naming each key on which finished steps depended, with its old and its new value.
    """
    refused = [difference for difference in found if not _under(difference.key, *free)]
    if refused:
        named = [
            f"{key} was {old!r} and is {new!r}{f' ({reasons[key]})' if key in reasons else ''}"
            for key, old, new in refused
        ]
        raise ValueError(
            f"The checkpoint was made with other settings: {'; '.join(named)}. They cannot change within a run, "
            "because its finished steps depended on them. Set them as they were, or start a new run in another folder "
            "(trainer.default_root_dir)."
        )
    if found:
        rank_zero_info(f"Changed since the checkpoint, and used from here on: {'; '.join(map(str, found))}.")
