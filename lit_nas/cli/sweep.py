"""The same fit, or the same job, with several seeds: mean and deviation of what comes out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lit_nas.cli.job import Layer, plan_job, read_layers
from lit_nas.cli.run import carry_out, parser_of
from lit_nas.jobs import Job, OneFit, Sweep
from lit_nas.record.names import import_class
from lit_nas.retrain import Retraining

__all__ = ("sweep",)

OF_A_JOB = ("search", "retrain", "job")
EPILOG = """\
The configuration is that of a fit or of a job. Other arguments override it, as for `lit-nas fit` or `lit-nas run`;
--executor.parallel 2 runs two seeds at a time. Seeds that have finished are not run again: --seeds 0..7 after
--seeds 0..3 runs four more. Beside the runs lie results.json and sweep.md.
"""


def sweep(args: Sequence[str]) -> None:
    """Runs a fit or a job with each of several seeds.

    Args:
        args: Arguments of `lit-nas sweep`.

    Raises:
        ValueError: for seeds that are none, and what `lit-nas run` refuses.
        FileExistsError: if the folder holds another job.
    """
    parser = parser_of("sweep", __doc__, EPILOG)
    parser.add_argument("--seeds", required=True, help="0..3 (both ends are run) or 0,4,7")
    given, words = parser.parse_known_args(args)
    if any(re.match(r"--(fit\.)?seed_everything\b", word) for word in words):
        raise ValueError("--seed_everything is set by --seeds, which are those of a sweep: leave it out.")
    if any(re.match(r"--(fit\.)?trainer\.default_root_dir\b", word) for word in words):
        raise ValueError("--trainer.default_root_dir is that of each seed: --folder is the folder of the sweep.")
    seeds, layers = _seeds(given.seeds), list(read_layers(given.config))
    job: Job | None = None
    if not any(key in content for _, content in layers for key in OF_A_JOB):
        folder = _value(layers, "trainer", "default_root_dir")
        given.folder = given.folder or (Path(f"{folder}_seeds") if folder else None)
        job = OneFit(_kind(layers, words))
        layers = [(path, _as_section(content)) for path, content in layers]
        words = [_of_the_fit(word) for word in words]
    plan = plan_job(layers, words, given.folder, None, job)
    carry_out(replace(plan, job=Sweep(plan.job, seeds)), ["sweep", *args], given.redo, given.print_config)


def _seeds(text: str) -> tuple[int, ...]:
    """`0..3` or `0,4,7`."""
    if found := re.fullmatch(r"(\d+)\.\.(\d+)", text.strip()):
        first, last = map(int, found.groups())
        seeds = tuple(range(first, last + 1))
    elif re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
        seeds = tuple(int(each) for each in text.split(","))
    else:
        seeds = ()
    if not seeds or len(seeds) > 1000:
        raise ValueError(f"--seeds is '{text}', but must be as 0..3 (the lower end first; both are run) or as 0,4,7.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds is '{text}', which names a seed twice.")
    return seeds


def _as_section(content: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a fit as the section of a job, without what each seed has of its own."""
    own = {key: value for key, value in content.items() if key not in ("seed_everything", "executor", "folder")}
    if isinstance(own.get("trainer"), dict):
        own["trainer"] = {key: value for key, value in own["trainer"].items() if key != "default_root_dir"}
    return {"fit": own, **{key: content[key] for key in ("executor", "folder") if key in content}}


def _of_the_fit(word: str) -> str:
    """An argument of the fit as one of its section."""
    name = word.partition("=")[0].partition(".")[0]
    return word if not word.startswith("--") or name in ("--executor", "--fit") else f"--fit.{word[2:]}"


def _kind(layers: Sequence[Layer], words: Sequence[str]) -> Any:
    """Whether the fit is a search or a retraining."""
    name = _value(layers, "model", "class_path")
    for number, word in enumerate(words):
        if re.fullmatch(r"--model(\.class_path)?", word.partition("=")[0]):
            name = word.partition("=")[2] or (words[number + 1] if number + 1 < len(words) else name)
    if not isinstance(name, str):
        raise ValueError(
            "The configuration names no model. It must be that of a fit (model, data, trainer) or of a job (search, "
            "retrain)."
        )
    found = import_class(name if "." in name else f"lit_nas.{name}")
    return "retrain" if issubclass(found, Retraining) else "search"


def _value(layers: Sequence[Layer], section: str, key: str) -> Any:
    """What the last layer says of a key of a section; a section that is a text names a class."""
    found = None
    for _, content in layers:
        part = content.get(section)
        if isinstance(part, str) and key == "class_path":
            found = part
        elif isinstance(part, dict) and part.get(key) is not None:
            found = part[key]
    return found
