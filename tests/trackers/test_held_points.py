"""A logger that a run continues with logs no point twice and misses none, whichever tracker it is."""

from collections import Counter
from pathlib import Path

import pytest
from matplotlib.image import imsave

from lit_nas.trackers import ResumableMLFlowLogger, ResumableTensorBoardLogger, ResumableWandbLogger
from lit_nas.trackers.mlflow_tracker import MLFlowTracker
from lit_nas.trackers.shown import Kept, Picture
from lit_nas.trackers.tensorboard_tracker import TensorBoardTracker
from tests.support.wandb_runs import offline, points, records, wait_for


class OfWandb:
    def __init__(self, folder, monkeypatch):
        offline(monkeypatch, folder)
        self.folder = folder

    def open(self):
        return ResumableWandbLogger(project="test", save_dir=self.folder, id="abc", offline=True)

    def close(self, logger):
        path = Path(logger.experiment.dir).parent / "run-abc.wandb"
        logger.experiment.finish()
        wait_for(path)

    def logged(self):
        paths = self.folder.glob("wandb/offline-run-*/run-abc.wandb")
        return [point for path in paths for point in points(records(path))]


class OfTensorBoard:
    def __init__(self, folder, monkeypatch):
        self.folder = folder

    def open(self):
        return ResumableTensorBoardLogger(self.folder, name="tb", version="", default_hp_metric=False)

    def close(self, logger):
        logger.experiment.close()

    def logged(self):
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        events = [e for path in Path(self.folder, "tb").iterdir() for e in EventFileLoader(str(path)).Load()]
        return [(event.step, value.tag) for event in events for value in event.summary.value if value.tag != "epoch"]


class OfMLFlow:
    def __init__(self, folder, monkeypatch):
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which takes no seconds to be made
        self.uri, self.run_id = f"file:{folder}/mlruns", None

    def open(self):
        logger = ResumableMLFlowLogger("test", tracking_uri=self.uri, run_id=self.run_id)
        self.run_id = logger.run_id
        return logger

    def close(self, logger):
        logger.finalize("success")

    def logged(self):
        client = self.open().experiment
        names = client.get_run(self.run_id).data.metrics
        found = [(p.step, name) for name in names for p in client.get_metric_history(self.run_id, name)]
        return [(step, name) for step, name in found if name != "epoch"]


@pytest.fixture(params=[OfWandb, OfTensorBoard, OfMLFlow])
def tracker(request, tmp_path, monkeypatch):
    return request.param(tmp_path, monkeypatch)


@pytest.mark.filterwarnings("ignore")
def test_no_point_is_logged_twice_and_none_is_missing(tracker):
    logger = tracker.open()
    for step in (0, 1, 2, 4):  # the row of step 3 was lost, and 4 was cut in the middle
        logger.log_metrics({"a/b": step / 2, "epoch": 0}, step)
        if step < 4:
            logger.log_metrics({"c": 1.0, "epoch": 0}, step)
    tracker.close(logger)
    again = tracker.open()
    rows = [{"step": str(step), "a/b": "0.5", "c": "1.0", "d": "", "epoch": "0"} for step in range(4)]
    again.complete(rows)
    for step in range(4, 7):  # trained again from the checkpoint behind step 3
        again.log_metrics({"a/b": step / 2, "epoch": 0}, step)
        again.log_metrics({"c": 1.0, "epoch": 0}, step)
    tracker.close(again)
    found = Counter(tracker.logged())
    assert found == {(step, name): 1 for step in range(7) for name in ("a/b", "c")}


def test_wandb_starts_without_a_warning(tmp_path, capfd):
    run = ResumableWandbLogger(project="test", save_dir=tmp_path, id="abc", offline=True).experiment
    run.finish()
    assert "WARNING" not in capfd.readouterr().err


def test_online_only_what_the_server_has_is_left_out(monkeypatch, tmp_path):
    logger = ResumableWandbLogger(project="test", save_dir=tmp_path, id="abc")
    logger._held, logger._last = frozenset({(step, "a") for step in range(10)}), 7
    assert [logger.holds("a", step) for step in (3, 7, 8, 10)] == [True, True, False, False]
    assert not logger.holds("b", 3)
    logger._held = frozenset()  # another machine
    assert [logger.holds("a", step) for step in (3, 6, 7, 8)] == [True, True, False, False]
    logger._last = -1  # the server has nothing
    assert not logger.holds("a", 0)


@pytest.mark.filterwarnings("ignore")
def test_parameters_of_mlflow_that_are_there_stay(monkeypatch, tmp_path):
    tracker = OfMLFlow(tmp_path, monkeypatch)
    tracker.open().log_hyperparams({"trainer": {"max_epochs": 3}})
    again = tracker.open()
    again.log_hyperparams({"trainer": {"max_epochs": 5, "devices": 1}})  # MLflow refuses to change one
    known = again.experiment.get_run(tracker.run_id).data.params
    assert known == {"trainer/max_epochs": "3", "trainer/devices": "1"}


@pytest.mark.filterwarnings("ignore")
def test_pictures_of_mlflow_that_are_there_are_not_sent_again(monkeypatch, tmp_path):
    of, path = OfMLFlow(tmp_path, monkeypatch), tmp_path / "picture.png"
    imsave(path, [[0.0, 1.0]])
    for epochs in ((0, 1, 2), (1, 2, 3)):  # killed behind the checkpoint of epoch 0
        tracker = MLFlowTracker(of.open())
        for epoch in epochs:
            tracker.show_picture(Picture("heat_map/normal", path, ""), epoch, 10 * epoch)
    files = of.open().experiment.list_artifacts(of.run_id, "images")
    assert sorted(int(file.path.split("+")[2]) for file in files if file.path.endswith(".png")) == [0, 1, 2, 3]


def test_genotypes_of_tensorboard_that_are_there_are_not_written_again(monkeypatch, tmp_path):
    of, path = OfTensorBoard(tmp_path, monkeypatch), tmp_path / "genotype.json"
    path.write_text("{}")
    for epochs in ((0, 1), (1, 2)):  # killed behind the checkpoint of epoch 0
        logger = of.open()
        for epoch in epochs:
            kept = Kept("genotype", "genotype", path, (f"epoch-{epoch:04d}",), {"epoch": epoch})
            TensorBoardTracker(logger).keep(kept)
        TensorBoardTracker(logger).keep(Kept("genotype", "genotype", path, ("final",), {"epoch": epochs[-1] + 1}))
        of.close(logger)
    texts = [(step, tag.removesuffix("/text_summary")) for step, tag in of.logged()]
    assert sorted(texts) == sorted([*((k, "genotype") for k in (0, 1, 2)), *((k, "genotype/final") for k in (2, 3))])
