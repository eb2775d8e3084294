"""Checkpoints: written whole, read with suspicion."""

import os
import pickle
import random
import shutil
import signal
import stat
import time
import zipfile
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from lit_nas.callbacks import SaveCheckpoints, StopOnSignal, find_last
from lit_nas.cli import main
from lit_nas.record.migrations import FORMAT_VERSION
from lit_nas.record.recorded_module import load_module, read_checkpoint
from tests.methods.test_contract import fit
from tests.support.resume_job import PROCESSES, _child, differences, final_state, run, write_config
from tests.support.tiny import TINY

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    fit(TINY["DARTS-first-order"](), folder, callbacks=[SaveCheckpoints()])
    return folder / "checkpoints" / "last.ckpt"


def entries(path):
    """Start and length of the content of each entry of a checkpoint file."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            yield info.header_offset + 30 + name + extra, info.file_size


class Foreign:
    """What a malicious file would hold."""

    def __reduce__(self):
        return (os.system, ("touch executed",))


def test_fuzzed_checkpoints_are_refused_and_execute_nothing(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole, draw, cases = good.read_bytes(), random.Random(0), 0
    places = [(start, size) for start, size in entries(good) if size]
    bad = tmp_path / "bad.ckpt"

    def refused(content: bytes) -> None:
        nonlocal cases
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.ckpt") as error:
            load_module(bad)
        assert len(str(error.value)) > 30
        cases += 1

    for _ in range(20):
        refused(whole[: draw.randrange(len(whole))])
    for _ in range(25):
        start, size = draw.choice(places)
        position = start + draw.randrange(size)
        flipped = bytearray(whole)
        flipped[position] ^= 1 << draw.randrange(8)
        refused(bytes(flipped))
    for content in (b"", b"\0" * 1000, b"not a checkpoint", pickle.dumps(Foreign()), pickle.dumps({"lit_nas": 1})):
        refused(content)
    checkpoint = torch.load(good, weights_only=True)
    for record in (
        {"class_path": "os.system"}, {"class_path": "lit_nas.cli.main"}, {"class_path": "lit_nas.nothing.DARTS"},
        {"class_path": 3}, {"version": FORMAT_VERSION + 1}, {"version": 0}, {"version": True}, {"version": None},
        {"init_args": {"nonsense": 1}}, {"init_args": None}, {"init_args": {"order": 7}},
        {"class_path": "lit_nas.search.SearchModule"},
    ):  # fmt: skip
        changed = {**checkpoint, "lit_nas": {**checkpoint["lit_nas"], **record}}
        torch.save(changed, bad)
        refused(bad.read_bytes())
    for foreign in (Foreign(), [Foreign()], {"x": Foreign()}):
        torch.save({**checkpoint, "extra": foreign}, bad)
        refused(bad.read_bytes())
    assert cases >= 50
    assert not (tmp_path / "executed").exists()
    assert read_checkpoint(good)  # the original is untouched


def test_last_falls_back_to_the_one_before(good, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    assert find_last(tmp_path) == (None, "")
    assert find_last(str(tmp_path)).path is None
    shutil.copy(good, folder / "previous.ckpt")
    (folder / "last.ckpt").write_bytes(good.read_bytes()[:1000])
    path, remark = find_last(tmp_path)
    assert path == folder / "previous.ckpt"
    assert "last.ckpt" in remark
    assert "truncated" in remark
    (folder / "previous.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match="no whole checkpoint"):
        find_last(tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    from pytorch_lightning import Trainer

    fit(TINY["DARTS-first-order"](), tmp_path, callbacks=[SaveCheckpoints()])
    last = tmp_path / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def full(self, filepath, *_, **__):
        Path(filepath).write_bytes(before[:500])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    with pytest.raises(OSError, match=r"could not be written.*No space left.*as they were"):
        fit(TINY["DARTS-first-order"](), tmp_path, callbacks=[SaveCheckpoints()])
    assert last.read_bytes() == before
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt"}


def test_without_hard_links_a_checkpoint_is_whole_at_every_moment(tmp_path, monkeypatch):
    seen = []

    def no_links(source, target):
        raise OSError(95, "Operation not supported")

    def watched(source, target, replace=os.replace):
        replace(source, target)
        if Path(target).suffix == ".ckpt":
            path, remark = find_last(tmp_path)
            seen.append((Path(target).name, path.name, remark))

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "replace", watched)
    fit(TINY["DARTS-first-order"](), tmp_path, steps=3, callbacks=[SaveCheckpoints(every_n_steps=1)])
    first, later = ("last.ckpt", "last.ckpt", ""), ("previous.ckpt", "previous.ckpt", "")
    assert seen == [first, later, first, later, first]
    steps = [read_checkpoint(tmp_path / "checkpoints" / name)["global_step"] for name in ("previous.ckpt", "last.ckpt")]
    assert steps == [2, 3]


def test_an_unwritable_folder_is_found_before_training(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"cannot be written.*trainer.default_root_dir"):
        fit(TINY["DARTS-first-order"](), tmp_path, callbacks=[SaveCheckpoints()])


def test_order_of_parameters_is_compared(good, tmp_path):
    checkpoint = torch.load(good, weights_only=True)
    names = checkpoint["optimizer_states"][1]["param_groups"][0]["param_names"]
    assert names == ["logits.normal", "logits.reduce"]
    names.reverse()
    torch.save(checkpoint, tmp_path / "swapped.ckpt")
    with pytest.raises(ValueError, match="level 'arch' in the checkpoint belongs to other parameters"):
        fit(TINY["DARTS-first-order"](), tmp_path, ckpt_path=tmp_path / "swapped.ckpt")


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"every_n_minutes": -1.0}])
def test_intervals_must_be_positive(arguments):
    with pytest.raises(ValueError, match="must be positive or null"):
        SaveCheckpoints(**arguments)
    with pytest.raises(ValueError, match="at least 1"):
        StopOnSignal(0)


def test_minutes_count(tmp_path):
    saved = []

    class Counting(SaveCheckpoints):
        def _save(self, trainer):
            saved.append(trainer.fit_loop.epoch_loop.batch_idx)
            super()._save(trainer)

    fit(TINY["DARTS-first-order"](), tmp_path, steps=4, callbacks=[Counting(every_n_minutes=1e-9)])
    assert saved == [0, 1, 2, 3]  # after each batch, and the last one with its epoch
    saved.clear()
    fit(TINY["DARTS-first-order"](), tmp_path, steps=4, callbacks=[Counting()])
    assert saved == [3]


@pytest.mark.parametrize(
    ("interval", "saved", "asked"), [(2, [2, 4, 5], [0, 2, 4, 5]), (1, [1, 3, 5], [0, 1, 2, 3, 4, 5])]
)
def test_nothing_is_saved_between_a_step_and_its_validation(interval, saved, asked, tmp_path):
    """A run that continued there would go without the validation."""
    found = {"saved": [], "asked": []}

    class Saving(SaveCheckpoints):
        def _save(self, trainer):
            found["saved"].append(trainer.fit_loop.epoch_loop.batch_idx)
            super()._save(trainer)

    class Stopping(StopOnSignal):
        def _leave_if_asked(self, trainer):
            found["asked"].append(trainer.fit_loop.epoch_loop.batch_idx)

    Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=6, limit_val_batches=1, val_check_interval=interval,
        default_root_dir=tmp_path, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Saving(every_n_steps=2), Stopping()],
    ).fit(BoringModel())  # fmt: skip
    assert found == {"saved": saved, "asked": asked}


def test_a_checkpoint_of_another_space_is_refused_in_words(tmp_path, capsys):
    config = write_config("DARTS-first-order", tmp_path / "in.yaml")
    folder = ["--trainer.default_root_dir", str(tmp_path / "run")]
    assert run(["fit", "-c", str(config), *folder]) == 0
    larger = ["--model.space.init_channels", "4", "--ckpt_path", "last"]
    assert main(["fit", "-c", str(config), *folder, *larger]) == 2
    assert "model.space.init_channels was 2 and is 4" in capsys.readouterr().err


def test_job_script_goes_back_into_the_queue_and_finishes(tmp_path):
    """A stand-in for the scheduler: its commands, its environment, its signal."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, body in (("srun", 'exec "$@"'), ("scontrol", f'echo "$@" >> {tmp_path}/scontrol.log')):
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod((commands / name).stat().st_mode | stat.S_IEXEC)
    environment = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "42", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1",
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "lit-nas",
        "SLURM_NODELIST": "localhost",
    }  # fmt: skip
    script = (ROOT / "slurm" / "search.sbatch").read_text()
    assert "#SBATCH --signal=SIGUSR1@" in script
    assert script.rstrip().endswith('exec srun lit-nas fit "$@" --ckpt_path last')
    config = write_config("DARTS-first-order", tmp_path / "in.yaml")
    arguments = ["fit", "-c", str(config), "--trainer.default_root_dir"]
    job = [*arguments, str(tmp_path / "run"), "--ckpt_path", "last"]
    assert run(job, "SIGUSR1", 5, environment) == 143
    assert (tmp_path / "scontrol.log").read_text().split() == ["requeue", "42"]
    assert run(job, environment=environment) == 0
    assert int((tmp_path / "run" / "steps0.txt").read_text()) == 6
    assert run([*arguments, str(tmp_path / "whole")]) == 0
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "run")) == []
    assert len((tmp_path / "scontrol.log").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_nothing(tmp_path):
    """At least twenty kills while checkpoints are written after every step; the run ends as if undisturbed."""
    config = write_config("DARTS-first-order", tmp_path / "in.yaml")
    often = ["--trainer.max_epochs", "30", "--trainer.callbacks.init_args.every_n_steps", "1"]
    arguments = ["fit", "-c", str(config), *often, "--trainer.default_root_dir"]
    assert run([*arguments, str(tmp_path / "whole")]) == 0
    job, draw, kills = [*arguments, str(tmp_path / "run"), "--ckpt_path", "last"], random.Random(1), 0
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    while kills < 20:
        process = PROCESSES.Process(target=_child, args=(job, "", 0, {}))
        process.start()
        stamp, patience = last.stat().st_mtime_ns if last.exists() else 0, time.monotonic() + 100
        while (last.stat().st_mtime_ns if last.exists() else 0) == stamp and process.is_alive():
            assert time.monotonic() < patience
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.25))  # from here on it writes a checkpoint a step
        if not process.is_alive():
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
        path, _ = find_last(tmp_path / "run")
        assert path is not None
    assert kills == 20
    assert run(job) == 0
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "run")) == []
