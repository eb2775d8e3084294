"""Runs of a job lie together, and a run that continues is found again."""

import json
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger

from lit_nas.trackers import (
    MLFlowTracker,
    ResumableTensorBoardLogger,
    ResumableWandbLogger,
    RunIdentity,
    TensorBoardTracker,
    Tracker,
    WandbTracker,
    find_tracker,
    identify,
    register_tracker,
    registry,
)


@pytest.mark.parametrize(
    ("stage", "kind", "job_type"),
    [("search", "search", "search"), ("seed_3_retrain", "retrain", "retrain"), ("seed_12_stage2", "search", "stage2")],
)
def test_stages_and_seeds_of_a_job_share_a_group(stage, kind, job_type, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/job") / stage
    folder.mkdir(parents=True)
    assert identify(folder, kind, ()) == RunIdentity(folder, stage, None, kind)  # a fit on its own
    (folder / "stage.json").write_text(json.dumps({"stage": {"name": stage}}))
    for given in (folder, folder.absolute()):
        assert identify(given, kind, ["x" * 70]) == RunIdentity(
            folder, f"job/{stage}", "runs/job", job_type, ("x" * 64,)
        )
    (folder / "stage.json").write_text("{")
    assert identify(folder, kind, ()).group is None


RUN = RunIdentity(Path("runs/job/search"), "job/search", "runs/job", "search", ("DARTS",))


def test_what_a_configuration_gives_wins():
    assert WandbTracker.arguments({}, RUN) == {
        "name": "job/search", "group": "runs/job", "job_type": "search", "tags": ["DARTS"]
    }  # fmt: skip
    assert WandbTracker.arguments({"name": "mine", "tags": []}, RUN) == {"group": "runs/job", "job_type": "search"}
    assert TensorBoardTracker.arguments({"version": "mine"}, RUN) == {}


def test_each_folder_has_a_place_in_tensorboard_that_stays():
    inside = TensorBoardTracker.arguments({"save_dir": "runs"}, RUN)
    assert inside == TensorBoardTracker.arguments({"save_dir": "runs"}, RUN) == {"version": "job/search"}
    other = RunIdentity(Path("/elsewhere/job/search"), "job/search", None, "search")
    outside = TensorBoardTracker.arguments({"save_dir": "runs"}, other)["version"]
    assert outside.startswith("job/search-")
    assert outside != TensorBoardTracker.arguments({"save_dir": "else"}, RUN)["version"]


def test_mlflow_continues_the_run_that_the_folder_names(tmp_path):
    run = RunIdentity(tmp_path, "a", None, "search", ("DARTS", "DartsSpace"))
    wanted = {"run_name": "a", "tags": {"job_type": "search", "tags": "DARTS, DartsSpace"}}
    assert MLFlowTracker.arguments({}, run) == wanted
    (tmp_path / "mlflow_run_id").write_text("abc")
    assert MLFlowTracker.arguments({}, run) == {**wanted, "run_id": "abc"}
    assert MLFlowTracker.arguments({"run_id": "mine"}, run) == wanted


def test_loggers_find_their_tracker_and_unknown_ones_have_none(monkeypatch):
    class Other(Logger):
        pass

    class OtherTracker(CsvLike):
        @staticmethod
        def serves():
            return Other

    assert find_tracker(WandbLogger) is find_tracker(ResumableWandbLogger) is WandbTracker
    assert find_tracker(ResumableTensorBoardLogger) is TensorBoardTracker
    assert find_tracker(CSVLogger).draws
    assert find_tracker(Other) is None
    monkeypatch.setattr(registry, "_TRACKERS", list(registry._TRACKERS))
    register_tracker(OtherTracker)
    assert find_tracker(Other) is OtherTracker
    with pytest.raises(TypeError, match="implements all of Tracker"):
        register_tracker(Tracker)


CsvLike = find_tracker(CSVLogger)
