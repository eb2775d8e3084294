"""What a job is made of: fits, and groups of fits that do not wait for each other."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lit_nas.genotype import load_genotype
from lit_nas.record.job_folder import ASIDE
from lit_nas.record.recorded_module import read_checkpoint
from lit_nas.report.correlation import GROUPS
from lit_nas.spaces import load_candidates, load_operator_groups

__all__ = (
    "CANDIDATES",
    "GENOTYPE",
    "GROUPS",
    "MORE_CALLBACKS",
    "RESULTS",
    "TEST",
    "FileOf",
    "Group",
    "Stage",
    "WeightsOf",
    "with_callback",
)

GENOTYPE, CANDIDATES, TEST = "genotype.json", "candidates.json", "test.json"
LAST = "checkpoints/last.ckpt"
RESULTS = {"search": GENOTYPE, "retrain": TEST}
"""Kind of a stage -> the file that is there when it is finished."""
MORE_CALLBACKS = "trainer.callbacks+"
"""The key that adds to the callbacks of a section."""
SET_BY_THE_JOB = ("trainer.default_root_dir", "ckpt_path")


@dataclass(frozen=True)
class FileOf:
    """A file that an earlier stage left.

    Raises:
        ValueError: if it is none of the files that stages hand over.
    """

    stage: str
    """Name of the stage."""
    path: str = GENOTYPE
    """Within its folder: `genotype.json`, which `model.genotype` takes, `candidates.json`, which
    `model.space.candidates` takes, `groups.json`, which `CorrelateOperators` leaves and a search by groups takes, or
    `checkpoints/last.ckpt`, for a module of your own."""

    def __post_init__(self) -> None:
        if self.path not in _READERS:
            raise ValueError(f"A stage hands over {', '.join(_READERS)}, but not '{self.path}'.")

    def check(self, folder: Path) -> None:
        """Reads the file, so that a stage that needs it is refused before it starts.

        Args:
            folder: Of the job.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if it is damaged.
        """
        path = folder / self.stage / self.path
        if not path.is_file():
            raise FileNotFoundError(f"The stage `{self.stage}` has left no {self.path} ('{path}').")
        _READERS[self.path](path)


_READERS = {GENOTYPE: load_genotype, CANDIDATES: load_candidates, GROUPS: load_operator_groups, LAST: read_checkpoint}


@dataclass(frozen=True)
class WeightsOf:
    """The weights of the network that an earlier stage ended with, as those that a fit begins with."""

    stage: str
    """Name of the stage; its last checkpoint is read."""
    partly: bool = False
    """Whether tensors of the network that the checkpoint does not have in the same name and shape begin as usual;
    otherwise they are refused. What the checkpoint has besides is left out in any case."""

    @property
    def file(self) -> FileOf:
        """The checkpoint."""
        return FileOf(self.stage, LAST)


@dataclass(frozen=True)
class Stage:
    """One fit of one configuration, in a folder and a process of its own.

    Its configuration is a section of the configuration of the job, with changes that the job makes on top.

    Raises:
        ValueError: if the name is no name of a folder, the kind is unknown or a key belongs to the job.
    """

    name: str
    """Of the stage and of its folder."""
    section: str
    """The section of the configuration that it starts from."""
    kind: Literal["search", "retrain"]
    """A search leaves `genotype.json`; a retraining is tested and leaves `test.json`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key -> plain value, as `{"model.space.num_cells": 11}`; wins over the section."""
    takes: Mapping[str, FileOf] = field(default_factory=dict)
    """Dotted key -> file of an earlier stage, whose path the key gets."""
    divides_as: str = ""
    """The stage whose division of the data it takes, where its section does not set one itself."""
    weights: WeightsOf | None = None
    """What its network begins with; None begins as its section says. A fit that continues has weights of its own."""
    beneath: tuple[str, ...] = ()
    """Configuration files, or the text of one, that the section is laid over; later ones win."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "beneath", tuple(self.beneath))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name) or ASIDE.search(self.name):
            raise ValueError(
                f"'{self.name}' cannot be the name of a stage: letters, digits, points, `_` and `-` can, but no `-` "
                "with a number at the end, which marks the old folder of a stage that is done again."
            )
        if self.kind not in RESULTS:
            raise ValueError(f"The kind of stage `{self.name}` is '{self.kind}'. Known are {', '.join(RESULTS)}.")
        for key in (*self.changes, *self.takes):
            if key in SET_BY_THE_JOB:
                raise ValueError(f"The stage `{self.name}` sets {key}, which follows from its name.")

    @property
    def result(self) -> str:
        """Name of the file that is there when the stage is finished."""
        return RESULTS[self.kind]

    @property
    def files(self) -> tuple[FileOf, ...]:
        """All files of earlier stages that it needs."""
        return *self.takes.values(), *(() if self.weights is None else (self.weights.file,))

    def layers(self) -> tuple[str, ...]:
        """What lies beneath the section, as arguments of `lit-nas fit`."""
        return tuple(word for each in self.beneath for word in ("--config", each))

    def words(self) -> tuple[str, ...]:
        """What the changes add to the arguments of `lit-nas fit`."""
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in self.changes.items()}
        return tuple(word for key, text in texts.items() for word in (f"--{key}", text))

    def taken_words(self, folder: Path) -> tuple[str, ...]:
        """What the files of earlier stages add to them.

        Args:
            folder: Of the job.
        """
        paths = {key: folder / file.stage / file.path for key, file in self.takes.items()}
        return tuple(word for key, path in paths.items() for word in (f"--{key}", str(path)))


def with_callback(changes: Mapping[str, Any], name: str, **arguments: Any) -> dict[str, Any]:
    """Changes of a stage to which a job adds a callback of its own, beside those of the section and of the changes.

    It belongs to the changes and not beneath the section, whose `trainer.callbacks` would replace it.

    Args:
        changes: Dotted key -> value.
        name: Class of the callback.
        arguments: Those of its constructor, as plain data.
    """
    others = changes.get(MORE_CALLBACKS, [])
    before = list(others) if isinstance(others, (list, tuple)) else [others]
    rest = {key: value for key, value in changes.items() if key != MORE_CALLBACKS}
    # last, because words of the command line take effect in their order
    return {**rest, MORE_CALLBACKS: [*before, {"class_path": name, "init_args": arguments}]}


@dataclass(frozen=True)
class Group:
    """Fits that do not wait for each other: a grid, a batch of candidates, several seeds.

    Raises:
        ValueError: if it is empty or a name appears twice.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A group needs stages with different names, but has {names}.")
