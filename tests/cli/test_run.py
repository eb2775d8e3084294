"""The whole job: stages, skipping, overriding, refusing."""

import json
from pathlib import Path

import pytest
import yaml

from lit_nas.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
DATA = {
    "class_path": "SyntheticDataModule",
    "init_args": {"num_images": 40, "height": 8, "width": 8, "batch_size": 4},
}
TRAINER = {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False, "limit_train_batches": 2}


def job(tmp_path, **top):
    space = {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "num_cells": 3, "nodes": 2}}
    retrain_data = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}
    config = {
        "folder": str(tmp_path / "job"),
        "search": {
            "model": {"class_path": "DARTS", "init_args": {"space": space}}, "data": DATA, "trainer": TRAINER,
        },
        "retrain": {
            "model": {"class_path": "EvaluationModule", "init_args": {"init_channels": 4, "num_cells": 3}},
            "data": retrain_data, "trainer": TRAINER,
        },
        **top,
    }  # fmt: skip
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_job_leaves_its_results_and_skips_what_is_there(tmp_path, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert 0 <= results["test_accuracy"] <= 1
    assert results["search_seconds"] > 0
    assert results["retrain_seconds"] > 0
    assert set(results["genotype"]["cells"]) == {"normal", "reduce"}
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix == ".ckpt"}
    assert stamps
    assert main(["run", "-c", config]) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    (folder / "retrain" / "test.json").unlink()
    assert main(["run", "-c", config]) == 0  # only the test is done again
    assert json.loads((folder / "results.json").read_text())["test_accuracy"] == results["test_accuracy"]
    assert "Test accuracy" in capsys.readouterr().out


def test_arguments_override_their_section(tmp_path):
    config = job(tmp_path)
    arguments = ["--search.trainer.max_epochs", "2", "--retrain.model.init_channels=6", "--seed_everything", "3"]
    assert main(["run", "-c", config, *arguments, "--folder", str(tmp_path / "other")]) == 0
    search = yaml.safe_load((tmp_path / "other" / "search" / "config.yaml").read_text())
    retrain = yaml.safe_load((tmp_path / "other" / "retrain" / "config.yaml").read_text())
    assert search["trainer"]["max_epochs"] == 2
    assert retrain["model"]["init_args"]["init_channels"] == 6
    assert search["seed_everything"] == retrain["seed_everything"] == 3


def test_layers_are_merged_and_printed(tmp_path, capsys):
    layer = tmp_path / "layer.yaml"
    layer.write_text("search: {trainer: {max_epochs: 5}}\n")
    assert main(["run", "-c", job(tmp_path), "-c", str(layer), "--print_config"]) == 0
    assert main(["run", "-c", job(tmp_path), "--search.trainer.max_epochs=5", "--print_config"]) == 0
    (first, second) = capsys.readouterr().out.split("folder: ")[1:]
    assert first == second
    assert main(["run", "-c", job(tmp_path), "-c", str(layer), "--print_config"]) == 0
    merged = yaml.safe_load(capsys.readouterr().out)
    assert merged["search"]["trainer"]["max_epochs"] == 5
    assert merged["search"]["trainer"]["limit_train_batches"] == 2
    assert merged["retrain"]["model"]["init_args"]["num_cells"] == 3
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("top", "arguments", "message"),
    [
        ({"serch": {}}, [], "serch"),
        (
            {},
            ["--serach.trainer.max_epochs", "1"],
            "Unknown argument --serach.trainer.max_epochs (did you mean `search`",
        ),
        ({}, ["--model.order", "1"], "write --search.model.order or --retrain.model.order"),
        ({}, ["--trainer.max_epoch", "1"], "In the section `search`: trainer.max_epoch is unknown (did you mean `max"),
        ({}, ["--retrain.trainer.max_epochs", "-2"], "In the section `retrain`: trainer.max_epochs is -2"),
        ({}, ["--trainer.accelerator", "tpu"], "(trainer.accelerator is 'tpu')"),
        ({}, ["--retrain.model", "DARTS"], "its model is DARTS, which is not a retraining (EvaluationModule)"),
        ({}, ["5"], "'5' is not understood"),
        ({}, ["--search"], "--search lacks a key"),
        ({"seed_everything": "x"}, [], "seed_everything is 'x'"),
        ({"trainer": ["cpu"]}, [], "the section `trainer` must be a mapping"),
        ({"trainer": {"max_epoch": 3}}, [], "trainer.max_epoch is unknown (did you mean `max_epochs`?)"),
        ({"model": {}}, [], "belongs to one stage: put it into `search` or `retrain`"),
        (
            {"retrain": {"trainer": {"default_root_dir": "x"}}},
            [],
            "has the key trainer.default_root_dir, which the job",
        ),
        (
            {"search": {"model": {"class_path": "DARTS", "init_args": {"inputs": {"classes": 7}}}}},
            [],
            "sets model.inputs",
        ),
        ({"folder": None}, [], "needs a folder"),
        ({}, ["--retrain.model.nonsense", "1"], "nonsense"),
        ({}, ["--search.model.space.operations", "[sep_conv_9x9]"], "sep_conv_9x9"),
        ({}, ["--search.model", "EvaluationModule"], "not a search"),
        ({}, ["--retrain.data.batch_size", "64"], "data.batch_size is 64"),
        ({}, ["--retrain.model.init_channels", "3"], "even"),
        ({}, ["--retrain.model.genotype", "DARTS_V1"], "set by the job itself"),
        ({}, ["--fold", "x"], "Unknown argument --fold (did you mean `folder`?)"),
    ],
)
def test_mistakes_in_either_section_are_found_before_training(top, arguments, message, tmp_path, capsys):
    try:
        status = main(["run", "-c", job(tmp_path, **top), *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_mistake_can_be_mended_in_the_same_folder(tmp_path):
    config = job(tmp_path)
    assert main(["run", "-c", config, "--search.data.batch_size", "64"]) == 2
    assert main(["run", "-c", config]) == 0


def test_a_search_that_died_after_its_last_checkpoint_is_finished(tmp_path):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    before = json.loads((folder / "search" / "genotype.json").read_text())
    (folder / "search" / "genotype.json").unlink()
    assert main(["run", "-c", config]) == 0
    assert json.loads((folder / "search" / "genotype.json").read_text())["cells"] == before["cells"]


def test_missing_section_and_missing_file(tmp_path, capsys):
    (tmp_path / "half.yaml").write_text("folder: x\nsearch: {}\n")
    assert main(["run", "-c", str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("a: [1")
    assert main(["run", "-c", str(tmp_path / "bad.yaml")]) == 2
    assert "not YAML" in capsys.readouterr().err


def test_a_folder_of_another_configuration_is_refused(tmp_path, capsys):
    config = job(tmp_path)
    assert main(["run", "-c", config]) == 0
    assert main(["run", "-c", config, "--search.trainer.max_epochs", "3"]) == 2
    error = capsys.readouterr().err
    assert "another configuration: trainer.max_epochs: 1 -> 3. Choose" in error
    assert f"lit-nas run -c {config} --search.trainer.max_epochs 3 --redo search" in error


def test_only_the_retraining_is_done_again_and_nothing_is_lost(tmp_path, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = ["--retrain.model.init_channels", "6"]
    assert main(["run", "-c", config, *changed]) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert main(["run", "-c", config, *changed, "--redo", "retrain"]) == 0
    assert "retrain is kept as " in capsys.readouterr().out
    for path, content in before.items():
        moved = path if "search" in path.parts else folder / "retrain-1" / path.name
        if "retrain" in path.relative_to(folder).parts:
            moved = folder / "retrain-1" / path.relative_to(folder / "retrain")
        assert moved.read_bytes() == content
    written = yaml.safe_load((folder / "retrain" / "config.yaml").read_text())
    assert written["model"]["init_args"]["init_channels"] == 6
    assert json.loads((folder / "results.json").read_text())["test_accuracy"] >= 0
    assert main(["run", "-c", config, *changed, "--redo", "retrain"]) == 0
    assert {entry.name for entry in folder.iterdir()} >= {"search", "retrain", "retrain-1", "retrain-2"}


def test_a_search_that_is_done_again_takes_the_retraining_along(tmp_path):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    assert main(["run", "-c", config, "--search.trainer.max_epochs", "2", "--redo", "search"]) == 0
    assert {entry.name for entry in folder.iterdir()} == {
        "search", "search-1", "retrain", "retrain-1", "results.json",
    }  # fmt: skip
    assert yaml.safe_load((folder / "search" / "config.yaml").read_text())["trainer"]["max_epochs"] == 2


def test_nothing_is_moved_before_the_new_stage_is_known_to_work(tmp_path, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    assert main(["run", "-c", config, "--retrain.model.init_channels", "3", "--redo", "retrain"]) == 2
    assert "In the section `retrain`: init_channels must be even" in capsys.readouterr().err
    assert {entry.name for entry in folder.iterdir()} == {"search", "retrain", "results.json"}


def test_shared_settings_hold_for_both_stages(tmp_path, capsys):
    config, layer = yaml.safe_load(Path(job(tmp_path)).read_text()), tmp_path / "layer.yaml"
    shared = {"data": config["search"].pop("data"), "trainer": config["search"].pop("trainer")}
    config["retrain"].pop("trainer")
    config["retrain"]["data"] = {"init_args": {"split": "all", "batch_size": 5}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**config, **shared}))
    layer.write_text("trainer: {max_epochs: 4}\nretrain: {trainer: {max_epochs: 6}}\n")
    arguments = ["-c", str(tmp_path / "job.yaml"), "-c", str(layer), "--print_config", "--data.num_images=44"]
    assert main(["run", *arguments, "--trainer.log_every_n_steps", "7", "--search.data.width", "12"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    search, retrain = printed["search"], printed["retrain"]
    for stage in (search, retrain):
        assert stage["data"]["class_path"] == "lit_nas.data.SyntheticDataModule"
        assert stage["data"]["init_args"]["num_images"] == 44
        assert stage["trainer"]["log_every_n_steps"] == 7
        assert stage["trainer"]["accelerator"] == "cpu"
    assert (search["trainer"]["max_epochs"], retrain["trainer"]["max_epochs"]) == (4, 6)
    assert (search["data"]["init_args"]["split"], retrain["data"]["init_args"]["split"]) == ("half", "all")
    assert (search["data"]["init_args"]["batch_size"], retrain["data"]["init_args"]["batch_size"]) == (4, 5)
    assert (search["data"]["init_args"]["width"], retrain["data"]["init_args"]["width"]) == (12, 8)


@pytest.mark.parametrize("content", [b"", b"- a\n", bytes(range(256)), b"a: 1\na: 2\n", b"search:\n\tmodel: 1\n"])
def test_a_configuration_that_cannot_be_read_is_named(content, tmp_path, capsys):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    assert main(["run", "-c", str(path)]) == 2
    assert "broken.yaml'" in capsys.readouterr().err
    assert main(["run", "-c", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_numbers_with_an_exponent_are_numbers(tmp_path, capsys):
    layer = tmp_path / "layer.yaml"
    layer.write_text("search: {model: {init_args: {optim: {arch: {class_path: DartsAdam, init_args: {lr: 1e-2}}}}}}\n")
    assert main(["run", "-c", job(tmp_path), "-c", str(layer), "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["search"]["model"]["init_args"]["optim"]["arch"]["init_args"]["lr"] == 0.01
