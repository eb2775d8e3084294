"""What the command line prints around a run: headings, the box at its end, and commands to go on with."""

import os
import shlex
import sys
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from lit_nas.callbacks import MeasureCost
from lit_nas.callbacks.progress_texts import duration
from lit_nas.cli.retrain_command import retrain_arguments
from lit_nas.genotype import load_genotype
from lit_nas.internals import callbacks_of, data_of
from lit_nas.record.job_folder import COMMAND
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.search import SearchModule

__all__ = ("ConcludeFit", "conclude_job", "heading", "resume_command")

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
def conclude_job(text: str, then: str) -> None:
    """Prints the summary of a job in a box, and what comes next in one line below it, so that it can be copied."""
    from rich import get_console
    from rich.panel import Panel
    from rich.text import Text

    get_console().print(Panel(Text(text, overflow="fold"), title="finished", title_align="left", expand=False))
    get_console().print(Text(then), soft_wrap=True)


def next_of_job(folder: Path) -> str:
    """What a user does next with a job, and its command.

    Args:
        folder: Of the job.
    """
    return "See all of it on one page:\n  " + _command(["report", str(folder), "-o", str(folder / "report.html")])


def resume_command() -> str:
    """The shell command that continues the run of this process."""
    if COMMAND in os.environ:  # of the job that runs this stage
        return os.environ[COMMAND]
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
    for name in ("train/accuracy", "val/accuracy", "train/perplexity", "val/perplexity"):
        if name in trainer.callback_metrics:
            facts[name] = f"{float(trainer.callback_metrics[name]):.4f}"
    for callback in callbacks_of(trainer):
        if isinstance(callback, MeasureCost):
            cost = callback.values(trainer, module.device)
            memory = "" if (peak := cost["peak_memory_gib"]) is None else f", at most {peak:.2f} GiB of memory"
            facts["took"] = f"{duration(callback.seconds)}, {cost['device_hours']:.3g} device-hours{memory}"
    return facts


def _next(trainer: Trainer, module: LightningModule, folder: Path) -> str | None:
    """What a user does next, and its command; None after a search that left nothing to retrain."""
    if not isinstance(module, SearchModule):
        return "Test it:\n  " + _command(["test", *_without("--ckpt_path", sys.argv[2:]), "--ckpt_path", "last"])
    path, data = folder / "genotype.json", data_of(trainer)
    if data is None or not path.exists():
        return None
    found = retrain_arguments(folder, load_genotype(path), module, data)
    if found is None:
        return None
    arguments, is_recipe = found
    title = "Retrain it" if is_recipe else "Retrain it, for as many epochs as you like"
    return f"{title}:\n  {_command(arguments)}"


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
