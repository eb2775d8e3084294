"""A tiny search as a process of its own, which something happens to."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.tiny import TINY, VARIANTS

STEPS, EPOCHS = 4, 3
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lit_nas.cli.training", "tests.support.edge_searches"])


def write_config(name: str, path: Path, **top: Any) -> Path:
    """Configuration of a method of `TINY` on synthetic images of its shape."""
    module = (TINY | VARIANTS | EDGE_SEARCHES)[name]()
    spec = module.spec
    arguments = {key: value for key, value in module.hparams.items() if key != "spec"}
    config = {
        "seed_everything": 5,
        "model": {"class_path": f"{type(module).__module__}.{type(module).__name__}", "init_args": arguments},
        "data": {
            "class_path": "SyntheticDataModule",
            "init_args": {
                "num_images": 100, "channels": spec.channels, "height": spec.height, "width": spec.width,
                "classes": spec.classes, "batch_size": 5,
                "augmentation": {"crop_padding": 1, "flip": True, "cutout": 2},
            },
        },
        "trainer": {
            "accelerator": "cpu", "max_epochs": EPOCHS, "limit_train_batches": STEPS, "log_every_n_steps": 1,
            "enable_progress_bar": False, "enable_model_summary": False, "deterministic": True,
            "callbacks": [{"class_path": "SaveCheckpoints", "init_args": {"every_n_steps": 2}}],
        },
        **top,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


def run(arguments: Sequence[str], bomb: str = "", at: int = 0, environment: dict[str, str] | None = None) -> int:
    """Runs `lit-nas` in a process of its own; its exit status, negative for a signal."""
    return run_ranks(arguments, [environment or {}], bomb, at)[0]


def run_ranks(
    arguments: Sequence[str], environments: Sequence[dict[str, str]], bomb: str = "", at: int = 0
) -> list[int]:
    """Runs `lit-nas` in a process for each environment, the first of which gets the bomb; their exit statuses."""
    processes = [
        PROCESSES.Process(target=_child, args=(list(arguments), bomb if rank == 0 else "", at, environment))
        for rank, environment in enumerate(environments)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    hanging = [process for process in processes if process.exitcode is None]
    for process in hanging:
        process.kill()
    assert not hanging, "a process hangs"
    return [process.exitcode for process in processes]


def _child(arguments: list[str], bomb: str, at: int, environment: dict[str, str]) -> None:
    from lit_nas.cli import main

    os.environ |= environment

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = open(environment.get("LOG", os.devnull), "w")  # noqa: SIM115
    sys.argv = ["lit-nas", *arguments]
    if bomb:
        BOMBS[bomb](at)
    steps = _count_steps()
    try:
        status = main(arguments)
    finally:
        if "wandb" in sys.modules:  # another process does this by itself when it exits
            sys.modules["wandb"].finish()
    option = "--folder" if "--folder" in arguments else "--trainer.default_root_dir"  # of a job, of a fit
    folder = Path(arguments[arguments.index(option) + 1])
    rank = environment.get("RANK", environment.get("SLURM_PROCID", ""))
    (folder / f"steps{rank}.txt").write_text(str(len(steps)))
    sys.exit(status)


def _count_steps() -> list[int]:
    from pytorch_lightning import LightningModule

    from lit_nas.search import SearchModule

    steps = []
    for owner in (SearchModule, LightningModule):  # a search, a retraining

        def counted(self, batch, batch_idx, start=owner.on_train_batch_start):
            steps.append(batch_idx)
            return start(self, batch, batch_idx)

        owner.on_train_batch_start = counted
    return steps


def _at_step(at: int, action) -> None:
    """Does something within the forward pass of training step `at`, counted from 0."""
    from lit_nas.retrain import LanguageRetrainModule, RetrainModule
    from lit_nas.search import ImageSearchModule, TextSearchModule
    from tests.support.text import LanguageSearchModule

    seen = {"step": -1, "batch": None}

    def watch(function):
        def watched(self, *arguments):
            position = self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx
            if position != seen["batch"]:
                seen["batch"], seen["step"] = position, seen["step"] + 1
                if seen["step"] == at:
                    action()
            return function(self, *arguments)

        return watched

    ImageSearchModule.loss = watch(ImageSearchModule.loss)
    LanguageSearchModule.losses_of = watch(LanguageSearchModule.losses_of)
    TextSearchModule._losses = watch(TextSearchModule._losses)
    LanguageRetrainModule._losses_of = watch(LanguageRetrainModule._losses_of)
    RetrainModule._training_loss = watch(RetrainModule._training_loss)


def _raise() -> None:
    raise RuntimeError("bomb")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_while_writing(at: int) -> None:
    """Dies in the middle of writing checkpoint number `at`, counted from 0."""
    from pytorch_lightning import Trainer

    save, count = Trainer.save_checkpoint, iter(range(10**6))

    def half(self, filepath, *args, **kwargs):
        save(self, filepath, *args, **kwargs)
        if next(count) == at:
            content = Path(filepath).read_bytes()
            Path(filepath).write_bytes(content[: len(content) // 2])
            _kill()

    Trainer.save_checkpoint = half


def _kill_between_names(at: int) -> None:
    """Dies after checkpoint number `at` is whole, when the one before it has its new name already."""
    replace, count = os.replace, iter(range(10**6))

    def watched(source, target, **kwargs):
        if Path(target).name == "last.ckpt" and next(count) == at:
            _kill()
        return replace(source, target, **kwargs)

    os.replace = watched


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _interrupt_twice() -> None:
    _interrupt()
    _interrupt()


BOMBS = {
    "exception": lambda at: _at_step(at, _raise),
    "SIGKILL": lambda at: _at_step(at, _kill),
    "SIGINT": lambda at: _at_step(at, _interrupt),
    "SIGINT twice": lambda at: _at_step(at, _interrupt_twice),
    "SIGTERM": lambda at: _at_step(at, lambda: os.kill(os.getpid(), signal.SIGTERM)),
    "SIGUSR1": lambda at: _at_step(at, lambda: os.kill(os.getpid(), signal.SIGUSR1)),
    "SIGKILL while writing": _kill_while_writing,
    "SIGKILL between names": _kill_between_names,
}


def run_once(tmp_path_factory, start):
    """Folder of the uninterrupted run of a name, which is made when it is first asked for.

    Args:
        start: (name, folder for its configuration, folder of the run) -> whether it has ended well.
    """
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            assert start(name, folder, folder / "run")
            made[name] = folder / "run"
        return made[name]

    return make


def final_state(folder: Path) -> dict[str, Any]:
    """All that a finished run leaves, less seconds."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["callbacks"] = {k: v for k, v in checkpoint["callbacks"].items() if "MeasureCost" not in k}
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if "cost/" not in k and v != ""} for row in csv.DictReader(file)]
    state = {"checkpoint": checkpoint, "metrics": [row for row in rows if len(row) > 1]}
    if (folder / "alphas.csv").exists():  # a search
        state["alphas"] = (folder / "alphas.csv").read_text()
        state["genotypes"] = {path.name: path.read_text() for path in sorted((folder / "genotypes").iterdir())}
        state["genotype"] = json.loads((folder / "genotype.json").read_text())
    return state


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two nested states are not bit-equal."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [where]
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{where}/{key} (only in one)" for key in a.keys() ^ b.keys()]
        return found + [d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}[{i}]")]
    return [] if a == b else [f"{where}: {a!r} != {b!r}"[:300]]
