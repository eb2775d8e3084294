"""Weights & Biases over an interruption: one run, no step twice, none missing."""

import json
import re
import time
from collections import Counter

import pytest
import yaml

from tests.support.resume_job import run, write_config
from tests.support.wandb_runs import QUIET, points, records, settings


def fit(folder, *arguments, **bomb):
    logger = {
        "class_path": "lit_nas.trackers.ResumableWandbLogger",
        "init_args": {"project": "test", "save_dir": str(folder), "offline": True},
    }
    config = write_config("DARTS-first-order", folder / "in.yaml")
    text = config.read_text() + f"  logger: {json.dumps(logger)}\n"
    assert text.index("trainer:") < text.index("logger:")
    config.write_text(text)
    arguments = ["fit", "-c", str(config), "--trainer.default_root_dir", str(folder / "run"), *arguments]
    kept = {"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder)}
    return run(arguments, environment={**QUIET, **kept}, **bomb)


MEDIA = re.compile(r"^(alphas|heat_map|cell)/")


def _wait(path):
    """The process that writes for a run goes on for a moment when the run is killed."""
    size, deadline = -1, time.monotonic() + 30
    while size != path.stat().st_size and time.monotonic() < deadline:
        size = path.stat().st_size
        time.sleep(2)


@pytest.mark.slow
@pytest.mark.parametrize(("bomb", "at", "status"), [("SIGTERM", 5, 143), ("SIGKILL", 9, -9)])
def test_an_interrupted_run_is_one_run(bomb, at, status, tmp_path):
    """A run that is killed has logged steps behind its last checkpoint, and takes them again."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert fit(whole) == 0
    assert fit(cut, bomb=bomb, at=at) == status
    (before,) = cut.glob("wandb/offline-run-*/*.wandb")
    _wait(before)
    assert fit(cut, "--ckpt_path", "last") == 0
    (first,) = whole.glob("wandb/offline-run-*/*.wandb")
    parts = sorted(cut.glob("wandb/offline-run-*/*.wandb"))
    assert len(parts) == 2
    identity = (cut / "run" / "wandb_id").read_text()
    assert {path.stem for path in parts} == {f"run-{identity}"}
    expected, found = points(records(first)), [point for part in parts for point in points(records(part))]
    assert len(expected) > 100
    assert [each for each, count in Counter(found).items() if count > 1] == []  # no step twice
    if bomb == "SIGKILL":  # pictures and charts that were under way are lost, but later charts hold the whole history
        assert set(found) <= set(expected)
        expected, found = ([each for each in each_of if not MEDIA.search(each[1])] for each_of in (expected, found))
    assert sorted(found) == sorted(expected)  # and none missing
    assert {name for _, name in found} >= {"lr/weights", "lr/arch"}
    for part in (first, *parts):
        config = settings(records(part))
        resolved = yaml.safe_load((part.parent.parent.parent / "run" / "config.yaml").read_text())
        assert config["data"] == resolved["data"]
        assert config["model"] == resolved["model"]
        assert (config["seed_everything"], config["trainer"]["max_epochs"]) == (5, 3)
        assert config["global_batch"] == {"weights": 5, "arch": 5}
