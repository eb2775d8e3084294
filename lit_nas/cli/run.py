"""A whole job: search, derive, retrain, test, each stage skipped when its result is already there."""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.utilities import rank_zero_warn

import lit_nas
from lit_nas.callbacks import find_last
from lit_nas.cli.screen import conclude_job, heading
from lit_nas.cli.training import TrainingCLI
from lit_nas.data import ImageDataModule
from lit_nas.files import write_text
from lit_nas.genotype import load_genotype
from lit_nas.search import SearchModule

__all__ = ("run",)

STAGES = ("search", "retrain")
OWN = {"--seed_everything", "--trainer.default_root_dir", "--model.genotype", "--model.init_args.genotype"}
KEYS = {"folder", "seed_everything", *STAGES}
EPILOG = """\
A configuration has the keys `folder` (of the job), `seed_everything`, and the sections `search` and `retrain`, which
hold what `lit-nas fit` takes. Arguments override it under the name of their section:
--search.trainer.max_epochs 3 --retrain.model.init_channels 8. `lit-nas fit --help` lists what a section knows.
"""


def run(args: Sequence[str]) -> None:
    """Searches, derives, retrains and tests as one job.

    Args:
        args: Arguments of `lit-nas run`.

    Raises:
        ValueError: for unknown keys, or a section that `lit-nas fit` would refuse; before any training.
        FileExistsError: if the folder holds a job of another configuration.
    """
    parser = argparse.ArgumentParser(
        "lit-nas run",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", required=True, type=Path, help="YAML file; later ones win")
    parser.add_argument("--folder", type=Path, help="folder of the job")
    parser.add_argument("--seed_everything", type=int, help="seed of both stages")
    parser.add_argument("--print_config", action="store_true", help="print the configuration of both stages and stop")
    given, rest = parser.parse_known_args(args)

    layers = [_read(path) for path in given.config]
    top = _merge(layers)
    folder = given.folder or Path(top.get("folder") or "")
    if folder == Path():
        raise ValueError("A job needs a folder: set `folder` in the configuration or pass --folder.")
    seed = given.seed_everything if given.seed_everything is not None else top.get("seed_everything", 0)
    overrides = _overrides(rest)

    genotype, result = folder / "search" / "genotype.json", folder / "retrain" / "test.json"
    with tempfile.TemporaryDirectory() as scratch:
        arguments = {}
        for stage in STAGES:
            files = []
            for index, layer in enumerate(layers):
                if stage in layer:
                    path = Path(scratch) / f"{stage}-{index}.yaml"
                    path.write_text(yaml.safe_dump(layer[stage], sort_keys=False), encoding="utf-8")
                    files += ["--config", str(path)]
            if not files:
                raise ValueError(f"The configuration has no section `{stage}`. {EPILOG}")
            own = ["--trainer.default_root_dir", str(folder / stage), "--seed_everything", str(seed)]
            arguments[stage] = [*files, *overrides[stage], *own]
        plain = arguments["retrain"]
        arguments["retrain"] = [*plain, "--model.genotype", str(genotype)]

        plans = {stage: TrainingCLI(arguments[stage], run=False, parse_only=True) for stage in STAGES}
        if taken := _split_of_search(plans, top["retrain"].get("data"), overrides["retrain"]):
            plain, arguments["retrain"] = [*plain, *taken], [*arguments["retrain"], *taken]
            plans["retrain"] = TrainingCLI(arguments["retrain"], run=False, parse_only=True)
        if given.print_config:
            texts = (plans[stage].parser.dump(plans[stage].config, skip_none=False) for stage in STAGES)
            stages = {stage: yaml.safe_load(text) for stage, text in zip(STAGES, texts, strict=True)}
            sys.stdout.write(
                yaml.safe_dump({"folder": str(folder), "seed_everything": seed, **stages}, sort_keys=False)
            )
            return
        for stage in STAGES:
            _refuse_other_config(folder / stage, plans[stage])
        heading(f"search: {'finished before' if genotype.exists() else folder / 'search'}")
        if not genotype.exists():
            _rehearse(plain, arguments["search"], Path(scratch) / "genotype.json")
            _fit(arguments["search"], folder / "search")
        heading(f"retrain and test: {'finished before' if result.exists() else folder / 'retrain'}")
        elif not result.exists():
            _refuse_leak(*(TrainingCLI(arguments[stage], run=False) for stage in STAGES))
        if not result.exists():
            cli = _fit(arguments["retrain"], folder / "retrain")
            (scores,) = cli.trainer.test(cli.model, datamodule=cli.datamodule)
            write_text(result, json.dumps(scores, indent=2) + "\n")
    write_text(folder / "results.json", json.dumps(_results(folder, seed), indent=2) + "\n")
    conclude_job(_summary(folder))


def _rehearse(arguments: list[str], search: list[str], path: Path) -> None:
    """Builds the retraining and its data, so that it is refused before the search if at all.

    Its genotype is that of the search before the first step, written to `path`.
    """
    searching = TrainingCLI(search, run=False)
    model = searching.model
    if not isinstance(model, SearchModule):
        raise ValueError(f"The section `search` has the model {type(model).__name__}, which is not a search.")
    model.derive().save(path)
    cli = TrainingCLI([*arguments, "--model.genotype", str(path)], run=False)
    _refuse_leak(searching, cli)
    cli.trainer.strategy.connect(cli.model)  # the data ask it how they are divided
    cli.datamodule.trainer = cli.trainer
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    cli.datamodule.train_dataloader()


def _refuse_leak(search: TrainingCLI, retrain: TrainingCLI) -> None:
    """Refuses a retraining that would test on images that the search trains on."""
    if isinstance(search.datamodule, ImageDataModule) and isinstance(retrain.datamodule, ImageDataModule):
        retrain.datamodule.refuse_leak(search.datamodule.held_out)


def _split_of_search(plans: dict[str, TrainingCLI], section: Any, overrides: Sequence[str]) -> list[str]:
    """Arguments that give the retraining the split of the search, as far as its section does not name one."""
    searched, retrained = (plans[stage].config.data.get("init_args", {}) for stage in STAGES)
    section = section if isinstance(section, dict) else {}  # a class by its name alone
    named = {*section, *section.get("init_args", {})}
    named |= {word.split("=")[0].removeprefix("--data.").removeprefix("init_args.") for word in overrides}
    taken = []
    for key in ("split", "split_seed", "test_fraction"):
        if key in searched and key in retrained and key not in named and searched[key] != retrained[key]:
            value = searched[key]
            taken += [f"--data.{key}", value if isinstance(value, str) else json.dumps(value)]
    return taken


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no configuration '{path}'.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"'{path}' is not YAML: {error}") from error
    if not isinstance(content, dict) or set(content) - KEYS:
        found = sorted(set(content) - KEYS) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"'{path}' is not the configuration of a job: {found} unknown. Known are {sorted(KEYS)}.")
    return content


def _merge(layers: Sequence[Any]) -> Any:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = _merge([merged[key], value]) if both else value
    return merged


def _overrides(rest: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {stage: [] for stage in STAGES}
    stage = None
    for word in rest:
        if word.startswith("--"):
            stage = next((s for s in STAGES if word.startswith(f"--{s}.")), None)
            word = f"--{word.removeprefix(f'--{stage}.')}"
        if word.split("=")[0] in OWN:
            raise ValueError(f"`{word}` of the section {stage} is set by the job itself: see `lit-nas run --help`.")
        if stage is None:
            raise ValueError(f"Unknown argument '{word}'. {EPILOG}")
        found[stage].append(word)
    return found


def _refuse_other_config(folder: Path, plan: TrainingCLI) -> None:
    path = folder / "config.yaml"
    if not path.exists() or not (folder / "checkpoints").exists():
        return
    now = yaml.safe_load(plan.parser.dump(plan.config, skip_none=False))
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    if changed := sorted(key for key in {*now, *before} if now.get(key) != before.get(key)):
        raise FileExistsError(
            f"The folder '{folder}' holds a stage of another configuration: {changed} differ from '{path}'. Choose "
            "another --folder, or move the old one away."
        )


def _fit(arguments: list[str], folder: Path) -> TrainingCLI:
    cli = TrainingCLI(arguments, run=False)
    last, remark = find_last(folder)
    if remark:
        rank_zero_warn(remark)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=last)
    return cli


def _results(folder: Path, seed: int) -> dict[str, Any]:
    scores, search, retrain = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("retrain/test.json", "search/cost.json", "retrain/cost.json")
    )
    return {
        "genotype": load_genotype(folder / "search" / "genotype.json").to_dict(),
        "test_accuracy": scores["test/accuracy"],
        "test_loss": scores["test/loss"],
        "search_seconds": search["seconds"],
        "retrain_seconds": retrain["seconds"],
        "search_cost": search,
        "retrain_cost": retrain,
        "seed": seed,
        "versions": {
            "lit_nas": lit_nas.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _summary(folder: Path) -> str:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return (
        f"test accuracy  {results['test_accuracy']:.4f}\n"
        f"search         {results['search_seconds']:.0f} s\n"
        f"retraining     {results['retrain_seconds']:.0f} s\n"
        f"folder         {folder}\n"
        "results        results.json\n"
        "cell           search/genotype.json and its picture\n"
        "checkpoint     retrain/checkpoints/last.ckpt"
    )
