"""What a job is to do: its class and its sections, read from YAML layers and arguments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_nas.atomic_write import write_text
from lit_nas.cli.known import guess
from lit_nas.cli.layers import read_layer, read_value, refuse_spec
from lit_nas.cli.parts import chosen, described
from lit_nas.jobs import Executor, Job, Processes, SearchThenRetrain
from lit_nas.record.plain import differences

__all__ = ("EPILOG", "JobPlan", "Layer", "plan_job", "read_layers")

Layer = tuple[Path, Mapping[str, Any]]
"""A file with what it holds."""

SHARED = ("data", "trainer")
PARTS = ("job", "executor")
TOP = ("folder", "seed_everything", *PARTS, *SHARED)
SET_BY_THE_JOB = {
    "seed_everything": "--seed_everything is that of all stages",
    "trainer.default_root_dir": "--folder is that of all stages",
    "model.genotype": "the search finds it",
}
"""Key of a stage -> what is given instead."""
EPILOG = """\
A configuration has the keys `folder` (of the job) and `seed_everything`, the sections `search` and `retrain`, which
hold what `lit-nas fit` takes, and the sections `data` and `trainer`, which hold for all stages. Arguments override it:
--search.trainer.max_epochs 3 --retrain.model.init_channels 8 for one section, --data.root DIR --trainer.accelerator cpu
for all. Within a file the section of a stage wins over the shared ones. `job` names the class of another job, and
`executor` how its stages are run; `--job CLASS`, `--executor CLASS`, `--job.KEY VALUE` and `--executor.KEY VALUE`
override them.
`lit-nas fit --help` lists the keys of a section.
"""


@dataclass(frozen=True)
class JobPlan:
    """A job with its configuration."""

    job: Job
    """What proposes the stages."""
    executor: Executor
    """What runs them."""
    folder: Path
    """Where the stages have their folders."""
    seed: int
    """Seed of all stages."""
    layers: tuple[Mapping[str, Any], ...]
    """What the files hold."""
    overrides: Mapping[str, Sequence[str]]
    """Section -> arguments."""

    def words(self, section: str) -> tuple[str, ...]:
        """A section as arguments of `lit-nas fit`.

        Args:
            section: Its name.

        Raises:
            ValueError: if the job has no such section.
        """
        if section not in self.job.sections:
            raise ValueError(f"{type(self.job).__name__} has the sections {', '.join(self.job.sections)} only.")
        configs = _configs(self.layers, section)
        return *configs, *self.overrides[section], "--seed_everything", str(self.seed)

    def data_keys(self, section: str) -> frozenset[str]:
        """Keys of `data` that the configuration sets for one section alone.

        Args:
            section: Its name.
        """
        return _data_keys(self.layers, self.overrides[section], section)

    @property
    def described(self) -> dict[str, Any]:
        """What is not part of a stage, as plain data."""
        default = {} if self.job == SearchThenRetrain() else {"job": described(self.job)}
        return {"folder": str(self.folder), "seed_everything": self.seed, **default}

    def refuse_other_job(self) -> None:
        """Compares the job with the one that the folder holds.

        Raises:
            FileExistsError: if they differ, naming the key.
        """
        if not any(self.folder.glob("*/checkpoints")):
            return
        path = self.folder / "job.yaml"
        before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else described(SearchThenRetrain())
        found = differences({"job": before}, {"job": described(self.job)})
        free = tuple(f"job.{key}" for key in type(self.job).free)
        if changed := [each for each in found if not each.key.startswith(free)]:
            listed = "; ".join(str(difference) for difference in changed)
            raise FileExistsError(
                f"The folder '{self.folder}' holds another job: {listed}. Choose another --folder, or do its first "
                "stage again with --redo."
            )

    def record(self) -> None:
        """Writes what the job is into its folder; a job without `job` in its configuration needs no file."""
        path = self.folder / "job.yaml"
        if self.job != SearchThenRetrain():
            write_text(path, yaml.safe_dump(described(self.job), sort_keys=False))
        else:
            path.unlink(missing_ok=True)


def read_layers(paths: Sequence[Path]) -> Iterator[Layer]:
    """Reads the configuration of a job.

    Args:
        paths: YAML files; later ones win.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if it is no YAML, or something else than a mapping.
    """
    for path in paths:
        yield path, read_layer(path)


def plan_job(
    layers: Sequence[Layer], words: Sequence[str], folder: Path | None, seed: int | None, job: Job | None = None
) -> JobPlan:
    """Checks the configuration of a job.

    Args:
        layers: Files with what they hold; later ones win.
        words: Arguments with the name of a section, or of `job` or `executor`.
        folder: Of the job; None leaves it to the configuration.
        seed: Of all stages; None leaves it to the configuration.
        job: What it is the configuration of; None leaves it to the configuration.

    Raises:
        ValueError: for a file, key or argument that is not one of a job, or a missing section or folder.
    """
    words, arguments = _separate(words)
    contents = [content for _, content in layers]
    if job is None:
        job = chosen(contents, "job", Job, SearchThenRetrain, arguments["job"])
    executor = chosen(contents, "executor", Executor, Processes, arguments["executor"])
    for path, content in layers:
        _check_layer(path, content, job.sections)
    folder = Path(str((_last(contents, "folder") if folder is None else folder) or "").strip())
    seed = _last(contents, "seed_everything", 0) if seed is None else seed
    if folder == Path():
        raise ValueError("A job needs a folder: set `folder` in the configuration or pass --folder.")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed_everything is {seed!r}, but must be a whole number that is not negative.")
    overrides = _overrides(words, job.sections)
    for name in job.sections:
        if not any(name in content for content in contents):
            raise ValueError(f"The configuration has no section `{name}`. {EPILOG}")
    return JobPlan(job, executor, folder, seed, tuple(contents), overrides)


def _last(layers: Sequence[Mapping[str, Any]], key: str, default: Any = None) -> Any:
    """The value of a key in the last layer that has it."""
    return next((layer[key] for layer in reversed(layers) if layer.get(key) is not None), default)


def _check_layer(path: Path, content: Mapping[str, Any], sections: Sequence[str]) -> None:
    keys = (*TOP, *sections)
    for key in content:
        if key not in keys:
            listed = " or ".join(f"`{section}`" for section in sections)
            belongs = f" It belongs to one stage: put it into {listed}." if key == "model" else ""
            raise ValueError(
                f"'{path}' is not the configuration of a job: `{key}` is unknown{guess(str(key), keys)}.{belongs} "
                f"Known are {', '.join(keys)}."
            )
    for name in (*SHARED, *sections):
        section = content.get(name, {})
        if not isinstance(section, dict):
            raise ValueError(f"'{path}': the section `{name}` must be a mapping of keys, but is {section!r}.")
    for name in sections:
        section = content.get(name, {})
        refuse_spec(section, f"'{path}', section {name},")
        for key in SET_BY_THE_JOB:
            if _value(section, key) is not None:
                raise ValueError(
                    f"'{path}': the section `{name}` has the key {key}, which the job itself sets. Leave it out."
                )


def _value(section: Any, key: str) -> Any:
    """What a section has under a dotted key, through `init_args`."""
    for part in key.split("."):
        if isinstance(section, dict) and isinstance(section.get("init_args"), dict):
            section = section["init_args"]
        section = section.get(part) if isinstance(section, dict) else None
    return section


def _configs(layers: Sequence[Mapping[str, Any]], section: str) -> list[str]:
    """Layers of one section as arguments: of each file first what is shared, then its section."""
    found = []
    for layer in layers:
        for content in ({key: layer[key] for key in SHARED if key in layer}, layer.get(section) or {}):
            if content:
                found += ["--config", yaml.safe_dump(content, sort_keys=False)]
    return found


def _data_keys(layers: Sequence[Mapping[str, Any]], overrides: Sequence[str], section: str) -> frozenset[str]:
    found = {
        word.partition("=")[0].removeprefix("--data.").removeprefix("init_args.")
        for word in overrides
        if word.startswith("--data.")
    }
    for layer in layers:
        data = (layer.get(section) or {}).get("data")
        if isinstance(data, dict):  # otherwise a class by its name alone
            found |= {*data, *(data.get("init_args") or {})}
    return frozenset(found)


def _separate(words: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Parts from the others the arguments that belong to the job or the executor itself: `--job.seeds "[0, 1]"`.

    `--executor CLASS` names another class, and `--job.a.b VALUE` sets a key within a key.

    Raises:
        ValueError: if one has no key or no value.
    """
    others, found, left = [], {part: dict[str, Any]() for part in PARTS}, list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        part, _, key = name.partition(".")
        if not word.startswith("--") or part not in PARTS:
            others.append(word)
            continue
        key = key.removeprefix("init_args.")
        if not key and (equals or (left and not left[0].startswith("--"))):
            found[part]["class_path"] = value if equals else left.pop(0)
            continue
        if not key or (not equals and (not left or left[0].startswith("--"))):
            advice = f"`--{part}.KEY VALUE`" if key else f"`--{part} CLASS`, or `--{part}.KEY VALUE`"
            raise ValueError(f"{word} lacks a {'value' if key else 'class or a key'}: write {advice}.")
        found[part][key] = read_value(value if equals else left.pop(0), word)
    return others, found


def _overrides(words: Sequence[str], sections: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {section: [] for section in sections}
    targets: Sequence[str] = ()
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            root, _, rest = name.partition(".")
            if root in SHARED:
                targets, key = sections, name
            elif root in sections and rest:
                targets, key = (root,), rest
            else:
                raise ValueError(_unknown(name, root, sections))
            if (whole := key.replace("init_args.", "")) in SET_BY_THE_JOB:
                raise ValueError(f"--{name} is set by the job itself: {SET_BY_THE_JOB[whole]}.")
            word = f"--{key}{equals}{value}"
        elif not targets:
            raise ValueError(f"'{word}' is not understood: arguments are written as `--key value`.")
        for target in targets:
            found[target].append(word)
    return found


def _unknown(name: str, root: str, sections: Sequence[str]) -> str:
    if root == "model":
        return f"--{name} belongs to one stage: write {' or '.join(f'--{section}.{name}' for section in sections)}."
    options = (*sections, *SHARED, *PARTS, "config", "folder", "print_config", "redo", "seed_everything")
    if root in sections:
        return f"--{name} lacks a key: write for example --{root}.trainer.max_epochs 3."
    return f"Unknown argument --{name}{guess(root, options)}. {EPILOG}"
