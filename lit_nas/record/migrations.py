"""Checkpoints of earlier format versions, brought up to the present one.

Each step is a pure function from a whole checkpoint of version n to one of version n + 1. A new version needs a step
here, an entry in `MIGRATIONS`, and a checkpoint of the version before in `tests/resume/checkpoints`. A new constructor
argument with a default, a new buffer or a class that moved within its package need no new version: arguments that are
missing take their defaults, `RecordedModule.on_load_checkpoint` says what becomes of missing state, and files name
classes publicly (see `lit_nas.record.names`).
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import torch

__all__ = ("FORMAT_VERSION", "MIGRATIONS", "migrate")

FORMAT_VERSION = 3
Checkpoint = dict[str, Any]


def migrate(checkpoint: Mapping[str, Any], name: str = "The checkpoint") -> Checkpoint:
    """A checkpoint in the present format; what was handed over stays as it is.

    Args:
        checkpoint: Of this or an earlier version.
        name: What to call it in an error.

    Raises:
        ValueError: if it is of a later version, or of none.
    """
    version = checkpoint["lit_nas"].get("version")
    if type(version) is not int or version < 1:  # true is an int, too
        raise ValueError(
            f"{name} has format version {version!r}; this release reads version {FORMAT_VERSION} and earlier ones "
            "from 1 on."
        )
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {version}; this release reads version {FORMAT_VERSION} and earlier ones. It "
            "was written by a later release of lit-nas: upgrade to that one."
        )
    found = dict(checkpoint)
    for before in range(version, FORMAT_VERSION):
        found = MIGRATIONS[before](found)
    return found


_PACKAGES = {
    ("torch", "optim"),
    *(("lit_nas", name) for name in ("derivation", "engine", "methods", "optim", "relaxations", "search", "spaces")),
}


def _public(value: Any) -> Any:
    """Replaces names of modules within packages, as version 1 had them, by names of the packages."""
    if isinstance(value, dict):
        found = {key: _public(item) for key, item in value.items()}
        parts = str(found.get("class_path", "")).split(".")
        if len(parts) == 4 and tuple(parts[:2]) in _PACKAGES and parts[2] != "lr_scheduler":  # which is public itself
            found["class_path"] = ".".join([*parts[:2], parts[3]])
        return found
    return [_public(item) for item in value] if isinstance(value, list) else value


def _from_1(checkpoint: Checkpoint) -> Checkpoint:
    """Version 2 names classes publicly, knows the settings of the run, and has one CUDA generator for each rank.

    Version 1 did not save the settings. What they were follows in part from other state: the number of processes from
    that of the metrics, the length of the run from the schedule that spanned it, the seed from the genotype. Precision,
    limits and data are not known, and not compared when the run continues.
    """
    old = checkpoint["lit_nas"]
    record = _public(old)
    run: dict[str, Any] = {"processes": max(1, len(old.get("metrics", ())))}
    genotype = old.get("genotype")
    if isinstance(genotype, dict) and "arch" in (old.get("init_args") or {}).get("optim", {}):  # a search
        seed = genotype.get("meta", {}).get("seed")
        run |= {} if seed is None else {"seed_everything": seed}
    length = _length_of_the_run(checkpoint)
    run |= {} if length is None else {"trainer": {"max_epochs": length}}
    callbacks = dict(checkpoint.get("callbacks", {}))
    if states := callbacks.get("KeepRandomState"):
        callbacks["KeepRandomState"] = {"ranks": [_one_device(s, r) for r, s in enumerate(states["ranks"])]}
    return {**checkpoint, "callbacks": callbacks, "lit_nas": {**record, "version": 2, "run": run}}


def _length_of_the_run(checkpoint: Checkpoint) -> int | None:
    """`max_epochs`, if the schedule of the weights spanned the run in epochs."""
    optim = (checkpoint["lit_nas"].get("init_args") or {}).get("optim", {})
    schedule = optim.get("schedule") or {}
    own = schedule.get("init_args", {}).get("epochs") if isinstance(schedule, dict) else None
    states = checkpoint.get("lr_schedulers") or []
    if own is not None or optim.get("schedule_every", "epoch") != "epoch" or not states:
        return None
    return states[0].get("epochs")


def _one_device(state: dict[str, Any], rank: int) -> dict[str, Any]:
    """Version 1 kept the generators of all GPUs that a process saw; a rank uses the one of its own number."""
    generators = state.get("cuda")
    return {**state, "cuda": generators[rank % len(generators)]} if isinstance(generators, list) else state


def _rename_inputs(checkpoint: Checkpoint) -> Checkpoint:
    """What data and model agree on is the argument `spec`, which was called `inputs`."""
    record = checkpoint["lit_nas"]
    arguments = {("spec" if name == "inputs" else name): value for name, value in record["init_args"].items()}
    return {**checkpoint, "lit_nas": {**record, "init_args": arguments}}


def _tell_the_time(checkpoint: Checkpoint) -> Checkpoint:
    """The clock of a search knows steps, epochs and their totals; before, it was the part of the search that is done.

    Where the number of batches of an epoch was not saved, a run counts as a single step; where the number of epochs
    was not, as a single epoch.
    """
    if "architecture.progress" not in checkpoint.get("state_dict", {}):
        return checkpoint
    state = copy(checkpoint["state_dict"])  # with the versions of its modules, which it has as an attribute
    progress, run = state.pop("architecture.progress"), checkpoint["lit_nas"].get("run", {})
    epochs = run.get("trainer", {}).get("max_epochs") or 1
    steps = epochs * batches if (batches := run.get("batches")) else 1
    for name, value in (("step", progress * steps), ("epoch", progress * epochs)):
        state[f"architecture.clock.{name}"] = value
    for name, total in (("total_steps", steps), ("total_epochs", epochs)):
        state[f"architecture.clock.{name}"] = torch.full_like(progress, total)
    state["architecture.seed"] = torch.tensor(run.get("seed_everything") or 0)  # nothing was drawn by it
    return {**checkpoint, "state_dict": state}


def _from_2(checkpoint: Checkpoint) -> Checkpoint:
    """Version 3 has a clock of steps and epochs and a seed of draws, and calls what data and model agree on `spec`."""
    found = _tell_the_time(_rename_inputs(checkpoint))
    return {**found, "lit_nas": {**found["lit_nas"], "version": 3}}


MIGRATIONS: Mapping[int, Callable[[Checkpoint], Checkpoint]] = {1: _from_1, 2: _from_2}
"""Version -> step to the next one."""
