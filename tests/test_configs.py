"""Every file under configs/ is run, at a tiny size; a new file is found by itself."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from lit_nas.cli import main

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.yaml"))
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs

SYNTHETIC = ["--data", "SyntheticDataModule", "--data.num_images", "40", "--data.height", "8", "--data.width", "8"]
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
SMALL_SEARCH = ["--model.space.init_channels", "2", "--model.space.num_cells", "3", "--model.space.nodes", "2"]
SMALL_RETRAINING = ["--model.init_channels", "4", "--model.num_cells", "3"]
SMALL_BATCH = ["--data.batch_size", "4", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]


def of(folder: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{folder}/")]


def fit(tmp_path, *layers: str, data: list[str] = SYNTHETIC, small: list[str]) -> None:
    configs = [argument for layer in layers for argument in ("-c", str(ROOT / layer))]
    folder = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *configs, *data, *TRAINER, *small, *SMALL_BATCH, *folder]) == 0


def test_every_folder_is_tested():
    assert {name.split("/")[0] for name in FILES} == {"quickstart.yaml", "search", "retrain", "logger", "smoke", "job"}
    assert len(FILES) >= 16


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_for(name):
    first = (ROOT / name).read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", of("search"))
def test_search(name, tmp_path):
    fit(tmp_path, name, small=SMALL_SEARCH)
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


@pytest.mark.parametrize("name", of("smoke"))
def test_smoke_layer(name, tmp_path):
    kind = Path(name).stem
    target = of(kind)[0]
    small = ["--model.space.nodes", "2"] if kind == "search" else []
    fit(tmp_path, target, name, small=small)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["data"]["init_args"]["limit"] == 64


@pytest.mark.parametrize("name", ["quickstart.yaml", *of("job")])
def test_job(name, tmp_path):
    arguments = ["--folder", str(tmp_path / "job")]
    for stage, small in (("search", SMALL_SEARCH), ("retrain", SMALL_RETRAINING)):
        data = [] if name == "quickstart.yaml" else SYNTHETIC
        for argument in [*data, *TRAINER, *small, *SMALL_BATCH]:
            arguments.append(f"--{stage}.{argument[2:]}" if argument.startswith("--") else argument)
    assert main(["run", "-c", str(ROOT / name), *arguments]) == 0
    assert (tmp_path / "job" / "results.json").exists()
