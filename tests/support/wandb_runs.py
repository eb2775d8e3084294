"""Runs of Weights & Biases without an account, and an independent reader of what they leave."""

import json
import struct
import time
from pathlib import Path

from wandb.proto import wandb_internal_pb2

QUIET = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_CONSOLE": "off"}


def offline(monkeypatch, folder: Path) -> None:
    """Lets runs write below a folder and reach nothing."""
    for name, value in {**QUIET, "WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder)}.items():
        monkeypatch.setenv(name, value)


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


def wait_for(path):
    """Waits until the process that writes the file has ended the run: on a busy machine that takes a while."""
    deadline = time.monotonic() + 60
    while not any(record.HasField("exit") for record in records(path)) and time.monotonic() < deadline:
        time.sleep(0.2)


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


def summary(found):
    """The values of a run in a table of runs."""
    values = {}
    for record in found:
        for item in record.summary.update:
            values["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return values
