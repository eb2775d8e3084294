"""The whole job: stages, skipping, overriding, refusing."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from pytorch_lightning import LightningDataModule

from lit_nas.cli import main
from lit_nas.data import SyntheticDataModule
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchModule

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
        "executor": "InThisProcess",  # processes take seconds to start; tests of their own are in tests/jobs
        "search": {
            "model": {"class_path": "DARTS", "init_args": {"space": space}}, "data": DATA, "trainer": TRAINER,
        },
        "retrain": {
            "model": {"class_path": "RetrainModule", "init_args": {"init_channels": 4, "num_cells": 3}},
            "data": retrain_data, "trainer": TRAINER,
        },
        **top,
    }  # fmt: skip
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_a_job_whose_files_name_a_class_that_has_gone_is_the_same_job(tmp_path, capsys):
    config, written = job(tmp_path), tmp_path / "job" / "search" / "config.yaml"
    assert main(["run", "-c", config]) == 0
    text = written.read_text()
    assert "lit_nas.optim.DartsSGD" in text  # with all its arguments
    written.write_text(text.replace("lit_nas.optim.DartsSGD", "lit_nas.optim.PCDartsSGD"))
    capsys.readouterr()
    assert main(["run", "-c", config]) == 0
    assert "search: finished before" in capsys.readouterr().out


def test_a_job_ends_with_a_command_that_works(tmp_path, capsys):
    pytest.importorskip("plotly")
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    assert not (folder / "progress.json").exists()  # which is for its stages alone
    printed = capsys.readouterr().out.splitlines()
    command = printed[printed.index("See all of it on one page:") + 1].split()
    assert command == ["lit-nas", "report", str(folder), "-o", str(folder / "report.html")]
    assert main(command[1:]) == 0
    assert "</html>" in (folder / "report.html").read_text()


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
    printed = capsys.readouterr().out
    assert f"test accuracy  {results['test_accuracy']:.4f}" in printed


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
        (
            {},
            ["--retrain.model", "DARTS"],
            "its model is DARTS, which is not a retraining (RetrainModule, or LanguageRetrainModule for text)",
        ),
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
            {"search": {"model": {"class_path": "DARTS", "init_args": {"spec": {"classes": 7}}}}},
            [],
            "sets model.spec",
        ),
        ({"folder": None}, [], "needs a folder"),
        ({}, ["--retrain.model.nonsense", "1"], "nonsense"),
        ({}, ["--search.model.space.operations", "[sep_conv_9x9]"], "sep_conv_9x9"),
        ({}, ["--search.model", "RetrainModule"], "not a search"),
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


@pytest.mark.parametrize(
    "name", ["genotype.json", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cost.json", "config.yaml"))]
)
def test_a_search_whose_files_are_damaged_can_be_done_again(name, tmp_path, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    (folder / "search" / name).write_text("{ damaged")
    assert main(["run", "-c", config]) == 2
    error = capsys.readouterr().err
    assert f"search/{name}" in error
    assert "Do it again with --redo search" in error
    assert main(["run", "-c", config, "--redo", "search"]) == 0
    assert (folder / "search-1" / name).read_text() == "{ damaged"
    assert (folder / "retrain-1").exists()
    assert json.loads((folder / "results.json").read_text())["test_accuracy"] >= 0


class OwnData(LightningDataModule):
    """Data that are no `ImageDataModule`, and say all the same what the search must not have seen."""

    held_out: ClassVar[dict] = {"kind": "own", "part": 1}

    def __init__(self, refuses: bool = False) -> None:
        super().__init__()
        self.inner, self.refuses = SyntheticDataModule(num_images=40, height=8, width=8, batch_size=4), refuses
        self.spec, self.roles = self.inner.spec, self.inner.roles

    def refuse_leak(self, search):
        assert search == self.held_out
        if self.refuses:
            raise ValueError("these are the images of the search")

    def train_dataloader(self):
        self.inner.setup("fit")
        return self.inner.train_dataloader()


def test_data_of_another_kind_are_asked_for_what_the_search_held_out(tmp_path, capsys):
    own = {"class_path": "tests.cli.test_run.OwnData", "init_args": {"refuses": True}}
    config = yaml.safe_load(Path(job(tmp_path)).read_text())
    config["search"]["data"] = config["retrain"]["data"] = own
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "-c", str(tmp_path / "job.yaml")]) == 2
    assert "these are the images of the search" in capsys.readouterr().err
    assert not (tmp_path / "job" / "search").exists()


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
        assert stage["data"]["class_path"] == "lit_nas.SyntheticDataModule"
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


def data_of(tmp_path, search=(), retrain=()):
    """A job whose sections differ in these fields of their data."""
    path = job(tmp_path)
    config = yaml.safe_load((tmp_path / "job.yaml").read_text())
    for stage, fields in (("search", search), ("retrain", retrain)):
        init = {**config[stage]["data"]["init_args"], **dict(fields)}
        config[stage]["data"]["init_args"] = {key: value for key, value in init.items() if value is not None}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
    return path


def parts(folder):
    return {role: set(part) for role, part in json.loads((folder / "split.json").read_text())["parts"].items()}


@pytest.mark.parametrize(
    "split",
    ["one-one-four", *(pytest.param(each, marks=pytest.mark.slow) for each in ("half", {"weights": 0.5, "arch": 0.3}))],
)
def test_the_retraining_takes_the_split_of_the_search_by_itself(tmp_path, split):
    config = data_of(tmp_path, {"split": split, "split_seed": 3}, {"split": None})
    assert main(["run", "-c", config]) == 0
    search, retrain = parts(tmp_path / "job" / "search"), parts(tmp_path / "job" / "retrain")
    assert retrain["weights"] == search["weights"] | search["arch"]
    assert retrain["test"] == search["test"]
    assert retrain.get("val") == search.get("val")
    written = yaml.safe_load((tmp_path / "job" / "retrain" / "config.yaml").read_text())["data"]["init_args"]
    assert (written["split"], written["split_seed"]) == (split, 3)


@pytest.mark.parametrize(
    ("search", "retrain", "arguments"),
    [
        ({"split": "one-one-four"}, {"split": "all"}, []),
        ({"split": "one-one-four"}, {"split": "one-one-four", "split_seed": 1}, []),
        ({"split": "one-one-four"}, {"split": None}, ["--retrain.data.split=all"]),
        ({"split": "half"}, {"split": "one-one-four"}, []),
    ],
)
def test_a_retraining_that_would_test_on_what_was_trained_on_is_refused(tmp_path, capsys, search, retrain, arguments):
    assert main(["run", "-c", data_of(tmp_path, search, retrain), *arguments]) == 2
    assert "would test on images that the search trained on" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_leak_is_found_after_the_search_too(tmp_path, capsys):
    config = data_of(tmp_path, {"split": "one-one-four"}, {"split": None})
    assert main(["run", "-c", config]) == 0
    shutil.rmtree(tmp_path / "job" / "retrain")
    assert main(["run", "-c", config, "--retrain.data.split", "all"]) == 2
    assert "would test on images that the search trained on" in capsys.readouterr().err


def test_data_that_are_downloaded_are_there_when_the_retraining_is_rehearsed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(SyntheticDataModule, "prepare_data", lambda self: asked.append("download"))
    monkeypatch.setattr(SyntheticDataModule, "setup", lambda self, stage: asked.append("read"))
    with pytest.raises(RuntimeError, match="not read yet"):
        main(["run", "-c", job(tmp_path)])
    assert asked == ["download", "read"]


def test_an_interruption_stops_the_job_and_the_same_command_continues_it(tmp_path, monkeypatch, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    monkeypatch.setattr("sys.argv", ["lit-nas", "run", "-c", config])
    with monkeypatch.context() as patch:
        step = SearchModule.step_weights

        def interrupted(self, loss, pair):
            os.kill(os.getpid(), signal.SIGINT)
            return step(self, loss, pair)

        patch.setattr(SearchModule, "step_weights", interrupted)
        patch.setattr(os, "write", lambda number, text: None)  # the hint, which tests cannot capture
        with pytest.raises(SystemExit) as stop:
            main(["run", "-c", config, "--search.trainer.callbacks", "StopOnSignal"])
    assert stop.value.code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert f"Continue with:\n  lit-nas run -c {config}\n" in capsys.readouterr().err
    assert not (folder / "retrain").exists()
    assert not (folder / "search" / "genotype.json").exists()
    assert main(["run", "-c", config, "--search.trainer.callbacks", "StopOnSignal"]) == 0
    assert (folder / "results.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_test_ends_with_the_status_of_an_interruption(tmp_path, monkeypatch):
    config = job(tmp_path)
    monkeypatch.setattr(RetrainModule, "test_step", lambda self, batch, index: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(SystemExit) as stop:
        main(["run", "-c", config])
    assert stop.value.code == 130
    assert not (tmp_path / "job" / "results.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_stages_are_announced_and_nothing_is_said_twice(tmp_path, capsys, caplog):
    config = job(tmp_path)
    assert main(["run", "-c", config]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith(("search: ", "retrain and test: "))]
    assert len(stages) == 2
    assert sum("is the sum of" in line for line in lines) == 1
    assert sum("test/accuracy" in line for line in lines) == 1
    assert sum("lit-nas fit" in line for line in lines) == 0  # the job goes on by itself
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    for word in ("FLOPs", "TPU", "Tip", "max_epochs"):
        assert word not in printed.out + printed.err
    assert main(["run", "-c", config]) == 0
    again = capsys.readouterr().out
    assert again.count("finished before") == 2
    assert "test accuracy" in again


def test_what_does_not_change_the_result_may_change(tmp_path, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    written = folder / "search" / "config.yaml"
    older = yaml.safe_load(written.read_text())
    older["trainer"].pop("barebones")  # of a release whose Trainer had fewer keys
    written.write_text(yaml.safe_dump(older))
    free = [
        "--trainer.log_every_n_steps",
        "7",
        "--search.model.engine",
        "Reference",
        "--retrain.trainer.logger",
        "false",
    ]
    assert main(["run", "-c", config, *free]) == 0
    assert main(["run", "-c", config, *free, "--search.model.optim.clip", "1"]) == 2
    error = capsys.readouterr().err
    assert "another configuration: model.optim.clip: 5.0 -> 1.0. Choose" in error


@pytest.mark.slow
def test_a_stage_that_is_being_done_again_is_continued_by_the_printed_command(tmp_path, monkeypatch, capsys):
    config, folder = job(tmp_path), tmp_path / "job"
    assert main(["run", "-c", config]) == 0
    changed = ["--retrain.model.init_channels", "6", "--retrain.trainer.callbacks", "StopOnSignal"]
    command = ["run", "-c", config, *changed, "--redo", "retrain"]
    monkeypatch.setattr("sys.argv", ["lit-nas", *command])
    with monkeypatch.context() as patch:
        step = RetrainModule.training_step

        def interrupted(self, batch, index):
            os.kill(os.getpid(), signal.SIGINT)
            return step(self, batch, index)

        patch.setattr(RetrainModule, "training_step", interrupted)
        patch.setattr(os, "write", lambda number, text: None)  # the hint, which tests cannot capture
        with pytest.raises(SystemExit):
            main(command)
    printed = capsys.readouterr().err.split("Continue with:")[1]
    assert "--redo" not in printed
    begun = (folder / "retrain" / "checkpoints" / "last.ckpt").stat().st_ino
    for again in (["run", "-c", config, *changed], command):  # the second one finds it finished, and repeats it
        assert main(again) == 0
        kept = sorted(entry.name for entry in folder.iterdir())
        assert kept == ["results.json", "retrain", "retrain-1", *(["retrain-2"] if again is command else []), "search"]
    assert begun


@pytest.mark.parametrize("launcher", ["TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"])
def test_redo_is_refused_under_a_launcher(launcher, tmp_path, monkeypatch, capsys):
    config = job(tmp_path)
    monkeypatch.setenv(launcher, "1")
    assert main(["run", "-c", config, "--redo", "search"]) == 2
    assert "--redo moves folders and works in one process only" in capsys.readouterr().err
