"""What the command line prints around a run: headings, the box at its end, and commands to go on with."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from lit_nas.callbacks import MeasureCost
from lit_nas.callbacks.show_progress import duration
from lit_nas.genotype import load_genotype
from lit_nas.internals import callbacks_of, data_of
from lit_nas.networks.registry import SPACES
from lit_nas.record.plain import default_arguments
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.search import SearchModule
from lit_nas.specs import TextSpec

__all__ = ("ConcludeFit", "conclude_job", "heading", "resume_command")

CONFIGS = Path("configs")
SPLIT = ("split", "split_seed", "test_fraction")
FILES = {
    "cell": ("genotype.json", "genotype.svg", "genotype.png"),
    "curves": ("metrics.csv", "alphas.csv", "table.csv"),
    "configuration": ("config.yaml",),
    "cost": ("cost.json",),
    "checkpoint": ("checkpoints/last.ckpt",),
}


@rank_zero_only
def heading(text: str) -> None:
    """Prints a rule with the name of a stage."""
    from rich import get_console

    get_console().rule(text, align="left")


@rank_zero_only
def conclude_job(text: str) -> None:
    """Prints the summary of a job in a box."""
    from rich import get_console
    from rich.panel import Panel
    from rich.text import Text

    get_console().print(Panel(Text(text, overflow="fold"), title="finished", title_align="left", expand=False))


def resume_command() -> str:
    """The shell command that continues the run of this process."""
    if "LIT_NAS_JOB" in os.environ:  # of the job that runs this stage
        return os.environ["LIT_NAS_JOB"]
    arguments = sys.argv[1:]
    if arguments[:1] == ["fit"]:
        arguments = [*_without("--ckpt_path", arguments), "--ckpt_path", "last"]
    elif arguments[:1] in (["run"], ["sweep"]):  # what was to be done again is under way
        arguments = _without("--redo", arguments)
    launcher = "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "srun" if "SLURM_STEP_ID" in os.environ else ""
    return _command(arguments) + (f"  # under {launcher}, as before" if launcher else "")


class ConcludeFit(Callback):
    """Prints where the files of a finished fit are, and the command that comes next."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the box; its command stands below it in one line, so that it can be copied."""
        if not writes(trainer):
            return
        from rich import get_console
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        folder, grid = run_folder(trainer), Table.grid(padding=(0, 2))
        for name, value in _facts(trainer, pl_module, folder).items():
            grid.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
        title = f"{type(pl_module).__name__}: {trainer.current_epoch} of {trainer.max_epochs} epochs"
        console = get_console()
        console.print(Panel(grid, title=title, title_align="left", expand=False))
        if (then := _next(trainer, pl_module, folder)) is not None:
            console.print(Text(then), soft_wrap=True)


def _facts(trainer: Trainer, module: LightningModule, folder: Path) -> dict[str, str]:
    facts = {"folder": str(folder)}
    for name, paths in FILES.items():
        if found := [path for path in paths if (folder / path).exists()]:
            facts[name] = ", ".join(found)
    if (label := getattr(getattr(module, "genotype", None), "label", "")) and "cell" not in facts:
        facts["cell"] = label
    for name in ("train/accuracy", "val/accuracy", "val/perplexity"):
        if name in trainer.callback_metrics:
            facts[name] = f"{float(trainer.callback_metrics[name]):.4f}"
    for callback in callbacks_of(trainer):
        if isinstance(callback, MeasureCost):
            facts["time"] = duration(callback.seconds)
    return facts


def _next(trainer: Trainer, module: LightningModule, folder: Path) -> str | None:
    """What a user does next, and its command; None after a search that left nothing to retrain."""
    if not isinstance(module, SearchModule):
        return "Test it:\n  " + _command(["test", *_without("--ckpt_path", sys.argv[2:]), "--ckpt_path", "last"])
    genotype, data = folder / "genotype.json", data_of(trainer)
    if data is None or not genotype.exists() or not _can_be_retrained(load_genotype(genotype).space):
        return None
    name = ["--model.genotype", str(genotype)]
    if layers := _retraining(type(data).__name__, load_genotype(genotype).space):
        # the file trains on all training images, which a search that drew its test part has not kept apart
        split = _split(data) if getattr(data, "test_rule", None) else []
        files = [word for path in layers for word in ("-c", str(path))]
        return "Retrain it:\n  " + _command(["fit", *files, *name, *split])
    text = isinstance(getattr(data, "spec", None), TextSpec)
    model = ["--model", "LanguageRetrainModule" if text else "RetrainModule", *name]
    command = _command(["fit", *model, *_own_data(data), "--trainer.max_epochs", "600"])
    return f"Retrain it, for as many epochs as you like:\n  {command}"


def _can_be_retrained(space: str) -> bool:
    """Whether there is a network for genotypes of a space."""
    return space in SPACES and bool(SPACES[space].retrain)


def _retraining(data: str, space: str) -> list[Path]:
    """The layers of `configs/` that retrain on a data set, where the checkout lies in this folder; else none."""
    network = next(iter(SPACES[space].retrain), None) if space in SPACES else None
    # a folder of images may hold anything, and the recipes are not for images as small as the digits
    if network is None or data in ("ImageFolderDataModule", "DigitsDataModule"):
        return []
    configurations = sorted((CONFIGS / "retrain").glob("*.yaml"))
    bases = [path for path in configurations if _section(path, "model").get("init_args", {}).get("network") == network]
    for base in bases:
        for layers in ([base], *([base, path] for path in sorted((CONFIGS / "layers" / "data").glob("*.yaml")))):
            if _section(layers[-1], "data").get("class_path") == data:
                return layers
    return []


def _section(path: Path, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")).get(name, {}))


def _own_data(data: LightningDataModule) -> list[str]:
    """The data of a search as arguments of a retraining, which merges the parts that trained."""
    words, defaults = ["--data", type(data).__name__, *_split(data)], default_arguments(type(data))
    for name, value in data.hparams.items():
        known = isinstance(value, (bool, int, float, str)) and name not in (*SPLIT, "limit", "validate_on_test")
        if known and value != defaults.get(name):
            words += [f"--data.{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _split(data: LightningDataModule) -> list[str]:
    """How a search divided its data, as far as that is not the default."""
    words, defaults = [], default_arguments(type(data))
    for name in SPLIT:
        value = data.hparams.get(name, defaults.get(name))
        if value != defaults.get(name):
            words += [f"--data.{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _without(option: str, arguments: list[str]) -> list[str]:
    kept, words = [], iter(arguments)
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept


def _command(arguments: list[str]) -> str:
    return shlex.join(["lit-nas", *arguments])
