"""What a job is to do: its stages with their folders and arguments, read from YAML layers and arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_nas.cli.known import guess
from lit_nas.cli.layers import read_layer, refuse_spec

__all__ = ("EPILOG", "STAGES", "Job", "Stage", "plan")

STAGES = ("search", "retrain")
SHARED = ("data", "trainer")
KEYS = ("folder", "seed_everything", *SHARED, *STAGES)
SET_BY_THE_JOB = ("seed_everything", "trainer.default_root_dir", "model.genotype")
EPILOG = """\
A configuration has the keys `folder` (of the job) and `seed_everything`, the sections `search` and `retrain`, which
hold what `lit-nas fit` takes, and the sections `data` and `trainer`, which hold for both stages. Arguments override it:
--search.trainer.max_epochs 3 --retrain.model.init_channels 8 for one stage, --data.root DIR --trainer.accelerator cpu
for both. Within a file the section of a stage wins over the shared ones. `lit-nas fit --help` lists the keys.
"""


@dataclass(frozen=True)
class Stage:
    """One fit of a job."""

    name: str
    """`search` or `retrain`."""
    folder: Path
    """Where it writes."""
    arguments: tuple[str, ...]
    """What `lit-nas fit` would be given, less what only an earlier stage can tell."""
    result: Path
    """File that is there when the stage is finished."""


@dataclass(frozen=True)
class Job:
    """Stages that follow each other."""

    folder: Path
    """Where the stages have their folders."""
    seed: int
    """Seed of all stages."""
    search: Stage
    """Finds a genotype."""
    retrain: Stage
    """Trains and tests it; its arguments lack the genotype."""
    data_of_retraining: frozenset[str] = frozenset()
    """Keys of `data` that the configuration sets for the retraining alone."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they run."""
        return self.search, self.retrain

    @property
    def retrain_arguments(self) -> tuple[str, ...]:
        """Those of the retraining, with the genotype that the search leaves."""
        return *self.retrain.arguments, "--model.genotype", str(self.search.result)


def plan(paths: Sequence[Path], words: Sequence[str], folder: Path | None, seed: int | None) -> Job:
    """Reads the configuration of a job.

    Args:
        paths: YAML layers; later ones win.
        words: Arguments with the name of a section.
        folder: Of the job; None leaves it to the configuration.
        seed: Likewise.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a file, key or argument that is not one of a job, or a missing section or folder.
    """
    layers = [_read(path) for path in paths]
    for key, given in (("folder", folder), ("seed_everything", seed)):
        if given is None:
            given = next((layer[key] for layer in reversed(layers) if layer.get(key) is not None), None)
        if key == "folder":
            folder = Path(str(given or "").strip())
        else:
            seed = 0 if given is None else given
    if folder == Path():
        raise ValueError("A job needs a folder: set `folder` in the configuration or pass --folder.")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed_everything is {seed!r}, but must be a whole number from 0 on.")
    overrides = _overrides(words)
    results = {"search": "genotype.json", "retrain": "test.json"}
    stages = {}
    for name in STAGES:
        if not any(name in layer for layer in layers):
            raise ValueError(f"The configuration has no section `{name}`. {EPILOG}")
        own = ("--trainer.default_root_dir", str(folder / name), "--seed_everything", str(seed))
        arguments = (*_configs(layers, name), *overrides[name], *own)
        stages[name] = Stage(name, folder / name, arguments, folder / name / results[name])
    return Job(folder, seed, **stages, data_of_retraining=_data_keys(layers, overrides["retrain"]))


def _read(path: Path) -> dict[str, Any]:
    content = read_layer(path)
    for key in content:
        if key not in KEYS:
            belongs = " It belongs to one stage: put it into `search` or `retrain`." if key == "model" else ""
            raise ValueError(
                f"'{path}' is not the configuration of a job: `{key}` is unknown{guess(str(key), KEYS)}.{belongs} "
                f"Known are {', '.join(KEYS)}."
            )
    for name in (*SHARED, *STAGES):
        section = content.get(name, {})
        if not isinstance(section, dict):
            raise ValueError(f"'{path}': the section `{name}` must be a mapping of keys, but is {section!r}.")
    for name in STAGES:
        section = content.get(name, {})
        refuse_spec(section, f"'{path}', section {name},")
        for key in SET_BY_THE_JOB:
            if _value(section, key) is not None:
                raise ValueError(
                    f"'{path}': the section `{name}` has the key {key}, which the job itself sets. Leave it out."
                )
    return content


def _value(section: Any, key: str) -> Any:
    """What a section has under a dotted key, through `init_args`."""
    for part in key.split("."):
        if isinstance(section, dict) and isinstance(section.get("init_args"), dict):
            section = section["init_args"]
        section = section.get(part) if isinstance(section, dict) else None
    return section


def _configs(layers: Sequence[Mapping[str, Any]], stage: str) -> list[str]:
    """Layers of one stage as arguments: of each file first what is shared, then its section."""
    found = []
    for layer in layers:
        for content in ({key: layer[key] for key in SHARED if key in layer}, layer.get(stage) or {}):
            if content:
                found += ["--config", yaml.safe_dump(content, sort_keys=False)]
    return found


def _data_keys(layers: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> frozenset[str]:
    found = {
        word.partition("=")[0].removeprefix("--data.").removeprefix("init_args.")
        for word in overrides
        if word.startswith("--data.")
    }
    for layer in layers:
        data = (layer.get("retrain") or {}).get("data")
        if isinstance(data, dict):  # otherwise a class by its name alone
            found |= {*data, *(data.get("init_args") or {})}
    return frozenset(found)


def _overrides(words: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {stage: [] for stage in STAGES}
    targets: Sequence[str] = ()
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            root, _, rest = name.partition(".")
            if root in SHARED:
                targets, key = STAGES, name
            elif root in STAGES and rest:
                targets, key = (root,), rest
            else:
                raise ValueError(_unknown(name, root))
            if key.replace("init_args.", "") in SET_BY_THE_JOB:
                raise ValueError(
                    f"--{name} is set by the job itself: --folder and --seed_everything are for both stages."
                )
            word = f"--{key}{equals}{value}"
        elif not targets:
            raise ValueError(f"'{word}' is not understood: arguments are written as `--key value`.")
        for target in targets:
            found[target].append(word)
    return found


def _unknown(name: str, root: str) -> str:
    if root == "model":
        return f"--{name} belongs to one stage: write --search.{name} or --retrain.{name}."
    options = (*STAGES, *SHARED, "config", "folder", "print_config", "redo", "seed_everything")
    if root in STAGES:
        return f"--{name} lacks a key: write for example --{root}.trainer.max_epochs 3."
    return f"Unknown argument --{name}{guess(root, options)}. {EPILOG}"
