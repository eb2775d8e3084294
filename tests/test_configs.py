"""Every file under configs/ is run, at a tiny size; a new file is found by itself."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from lit_nas.cli import main
from tests.support.fake_table import make_table

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.yaml"))
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs

SYNTHETIC = ["--data", "SyntheticDataModule", "--data.num_images", "80", "--data.height", "8", "--data.width", "8"]
SYNTHETIC += ["--data.augmentation.cutout", "4"]  # that of CIFAR is larger than these images
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
SMALL_SEARCH = ["--model.space.init_channels", "2", "--model.space.num_cells", "3", "--model.space.nodes", "2"]
SMALL_NAS_BENCH_201 = ["--model.space.init_channels", "2", "--model.space.cells_per_stage", "1"]
SMALL_RETRAINING = ["--model.init_channels", "4", "--model.num_cells", "3"]
SMALL_BATCH = ["--data.batch_size", "4", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]


_DARTS_SEARCH = {
    "trainer.max_epochs": 50,
    "data.batch_size": 64,
    "data.split": "half",
    "data.split_seed": None,
    "data.augmentation": None,  # no cutout
    "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 8}),
    "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}),
    "model.optim.schedule": ("SearchCosineLR", {"lr_min": 0.001}),
    "model.optim.arch": ("DartsAdam", {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
    "model.optim.clip": 5.0,
}
_DARTS_CIFAR = {
    "trainer.max_epochs": 600,
    "data.batch_size": 96,
    "data.split": "all",
    "data.augmentation": {"crop_padding": 4, "flip": True, "cutout": 16},
    "model.network": "cifar",
    "model.init_channels": 36,
    "model.num_cells": 20,
    "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}),
    "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
    "model.optim.clip": 5.0,
    "model.optim.drop_path": 0.2,
    "model.optim.auxiliary_weight": 0.4,
    "model.optim.label_smoothing": None,
}
_DARTS_IMAGENET = {
    "trainer.max_epochs": 250,
    "data.batch_size": 128,
    "data.split": "all",
    "data.size": 224,
    "data.random_resized_crop": True,
    "data.augmentation": {"crop_padding": 0, "flip": True},
    "model.network": "imagenet",
    "model.init_channels": 48,
    "model.num_cells": 14,
    "model.optim.weights": ("DartsImageNetSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-5}),
    "model.optim.schedule": ("EpochDecayLR", {"gamma": 0.97}),
    "model.optim.clip": 5.0,
    "model.optim.drop_path": 0.0,
    "model.optim.auxiliary_weight": 0.4,
    "model.optim.label_smoothing": 0.1,
}


_NAS_BENCH_201_SEARCH = {
    **_DARTS_SEARCH,
    "data.split_seed": 0,
    "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
}
_SINGLE_LEVEL = {"data.split": "all", "model.optim.level": "single"}
_SPARSE = {  # section 4 of the paper: 200 epochs, all else as DARTS
    "trainer.max_epochs": 200,
    "model.pruning": {"threshold": 0.0, "every": "epoch", "from_epoch": 0, "guard": False},
}
_NAS_BENCH_201_RETRAINING = {
    "trainer.max_epochs": 200,
    "data.batch_size": 256,
    "data.split": "all",
    "data.augmentation": {"crop_padding": 4, "flip": True},
    "model.network": "nas_bench_201",
    "model.init_channels": 16,
    "model.num_cells": 15,
    "model.optim.weights": ("DartsSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
    "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
    "model.optim.schedule_every": "step",
    "model.optim.clip": 0.0,
    "model.optim.drop_path": 0.0,
    "model.optim.auxiliary_weight": 0.0,
    "model.optim.label_smoothing": None,
}


def paper(name: str) -> dict[str, object]:
    """Numbers of the DARTS paper, appendices A.1 to A.3, of NAS-Bench-201, sections 2.3 and 4, and of sparse search.

    None means that the file leaves the key out or null.
    """
    level = _SINGLE_LEVEL if "single_level" in name else {}
    if "entmax" in name:
        relaxation = {"model.relaxation": ("Entmax", {"alpha": float(name.split("entmax")[1][0])})}
        space = {"model.space": _NAS_BENCH_201_SEARCH["model.space"]} if "nas_bench_201" in name else {}
        return {**_DARTS_SEARCH, **_SPARSE, **relaxation, **space, **level}
    if "nas_bench_201" in name:
        order = {"model.order": 1 if "first_order" in name else 2}
        return {**_NAS_BENCH_201_SEARCH, **order} if name.startswith("search/") else _NAS_BENCH_201_RETRAINING
    if name.startswith("search/"):
        return {**_DARTS_SEARCH, "model.order": 2 if "second_order" in name else 1, **level}
    return _DARTS_IMAGENET if "imagenet" in name else _DARTS_CIFAR


def value(config: dict, key: str) -> object:
    """What a file states under a dotted key; a class as (name, arguments)."""
    for part in key.split("."):
        config = (config or {}).get(part)
        if isinstance(config, dict) and "class_path" in config:
            if part not in ("model", "data"):
                return config["class_path"], config["init_args"]
            config = config["init_args"]
    return config


def of(folder: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{folder}/")]


def fit(tmp_path, *layers: str, data: list[str] = SYNTHETIC, small: list[str]) -> None:
    configs = [argument for layer in layers for argument in ("-c", str(ROOT / layer))]
    folder = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *configs, *data, *TRAINER, *small, *SMALL_BATCH, *folder]) == 0


def test_every_folder_is_tested():
    folders = {"quickstart.yaml", "search", "retrain", "logger", "smoke", "job", "table"}
    assert {name.split("/")[0] for name in FILES} == folders
    assert len(FILES) >= 21


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_for(name):
    first = (ROOT / name).read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", of("search") + of("retrain"))
def test_numbers_are_those_of_the_paper(name):
    config = yaml.safe_load((ROOT / name).read_text())
    assert {key: value(config, key) for key in paper(name)} == paper(name)


@pytest.mark.parametrize("name", ["quickstart.yaml", *of("search"), *of("retrain"), *of("job")])
def test_a_run_says_on_what_it_runs(name):
    config = yaml.safe_load((ROOT / name).read_text())
    sections = [config] if "trainer" in config else [config["search"], config["retrain"]]
    for trainer in (section["trainer"] for section in sections):
        assert trainer["devices"] == 1
        on_a_gpu = trainer.get("accelerator") != "cpu"
        assert trainer.get("benchmark", False) == on_a_gpu  # sizes never change
        assert not (trainer.get("benchmark") and trainer.get("deterministic"))


@pytest.mark.parametrize("name", of("search"))
def test_search(name, tmp_path):
    fit(tmp_path, name, small=SMALL_NAS_BENCH_201 if "nas_bench_201" in name else SMALL_SEARCH)
    assert (tmp_path / "genotype.json").exists()


@pytest.mark.parametrize("name", [name for name in of("retrain") if "imagenet" not in name])
def test_retraining(name, tmp_path):
    fit(tmp_path, name, small=SMALL_RETRAINING)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_retraining_on_a_folder_of_images(tmp_path):
    for part in ("train", "val"):
        for label, colour in (("cat", "red"), ("dog", "blue")):
            (tmp_path / "images" / part / label).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (70, 66), colour).save(tmp_path / "images" / part / label / f"{i}.png")
    data = ["--data.root", str(tmp_path / "images"), "--data.size", "64", "--data.num_workers", "0"]
    fit(tmp_path / "run", "retrain/imagenet.yaml", data=data, small=SMALL_RETRAINING)


@pytest.mark.parametrize("name", of("logger"))
def test_logger(name, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    fit(tmp_path / "run", "search/darts_first_order_cifar10.yaml", name, small=SMALL_SEARCH)
    if "wandb" in name:
        import wandb

        wandb.finish()
    assert list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("layer", "target"),
    [
        ("smoke/search.yaml", "search/darts_first_order_cifar10.yaml"),
        ("smoke/search_nas_bench_201.yaml", "search/darts_first_order_nas_bench_201.yaml"),
        ("smoke/retrain.yaml", "retrain/cifar10.yaml"),
        ("smoke/retrain.yaml", "retrain/nas_bench_201_cifar10.yaml"),
    ],
)
def test_smoke_layer(layer, target, tmp_path):
    fit(tmp_path, target, layer, small=["--model.space.nodes", "2"] if layer == "smoke/search.yaml" else [])
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["data"]["init_args"]["limit"] == 64


@pytest.mark.parametrize("name", of("table"))
def test_table(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_table().save("data/nas_bench_201.csv")
    fit(tmp_path / "run", "search/darts_first_order_nas_bench_201.yaml", name, small=SMALL_NAS_BENCH_201)
    assert len((tmp_path / "run" / "table.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("name", ["quickstart.yaml", *of("job")])
def test_job(name, tmp_path):
    arguments = ["--folder", str(tmp_path / "job")]
    for stage, small in (("search", SMALL_SEARCH), ("retrain", SMALL_RETRAINING)):
        data = [] if name == "quickstart.yaml" else [*SYNTHETIC, "--data.limit", "40"]
        for argument in [*data, *TRAINER, *small, *SMALL_BATCH]:
            arguments.append(f"--{stage}.{argument[2:]}" if argument.startswith("--") else argument)
    assert main(["run", "-c", str(ROOT / name), *arguments]) == 0
    assert (tmp_path / "job" / "results.json").exists()
