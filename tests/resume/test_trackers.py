"""Weights & Biases over an interruption: one run, no step twice, none missing."""

import json
import struct

import pytest
import yaml
from wandb.proto import wandb_internal_pb2

from tests.support.resume_job import run, write_config

QUIET = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_CONSOLE": "off"}


def fit(folder, *arguments, **bomb):
    logger = {
        "class_path": "pytorch_lightning.loggers.WandbLogger",
        "init_args": {"project": "test", "save_dir": str(folder), "offline": True},
    }
    config = write_config("DARTS-first-order", folder / "in.yaml")
    text = config.read_text() + f"  logger: {json.dumps(logger)}\n"
    assert text.index("trainer:") < text.index("logger:")
    config.write_text(text)
    arguments = ["fit", "-c", str(config), "--trainer.default_root_dir", str(folder / "run"), *arguments]
    return run(arguments, environment=QUIET, **bomb)


def records(path):
    """What a process left for the tracker: a LevelDB log of 32 KiB blocks after a header of 7 bytes."""
    content, at, found, pending = path.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        if at % 2**15 > 2**15 - 7:  # a block ends with padding where no header fits
            at += -at % 2**15
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        pending += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pending)
            found.append(record)
            pending = b""
    return found


def points(found):
    """(step, name) of each scalar that was logged, in order."""
    logged = []
    for record in found:
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        step = row.pop("trainer/global_step", None)
        logged += [(step, name) for name in row if not name.startswith("_") and name != "epoch"]
    return logged


def settings(found):
    """The configuration that the tracker has of a run."""
    config = {}
    for record in found:
        for update in (record.run.config, record.config):
            config |= {item.key: json.loads(item.value_json) for item in update.update if item.key}
    return config


@pytest.mark.slow
def test_an_interrupted_run_is_one_run(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert fit(whole) == 0
    assert fit(cut, bomb="SIGTERM", at=5) == 143
    assert fit(cut, "--ckpt_path", "last") == 0
    (first,) = whole.glob("wandb/offline-run-*/*.wandb")
    parts = sorted(cut.glob("wandb/offline-run-*/*.wandb"))
    assert len(parts) == 2
    identity = (cut / "run" / "wandb_id").read_text()
    assert {path.stem for path in parts} == {f"run-{identity}"}
    expected, found = points(records(first)), [point for part in parts for point in points(records(part))]
    assert len(expected) > 100
    assert len(set(found)) == len(found)  # no step twice
    assert sorted(found) == sorted(expected)  # and none missing
    assert {name for _, name in found} >= {"lr/weights", "lr/arch"}
    for part in (first, *parts):
        config = settings(records(part))
        resolved = yaml.safe_load((part.parent.parent.parent / "run" / "config.yaml").read_text())
        assert config["data"] == resolved["data"]
        assert config["model"] == resolved["model"]
        assert (config["seed_everything"], config["trainer"]["max_epochs"]) == (5, 3)
        assert config["global_batch"] == {"weights": 5, "arch": 5}
