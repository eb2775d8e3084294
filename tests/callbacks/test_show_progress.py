"""Progress on a terminal and in a log, read as a user reads it."""

import re
from types import SimpleNamespace

import pytest
import rich
from pytorch_lightning import Trainer

from lit_nas.callbacks import ShowProgress, SummariseModel
from lit_nas.callbacks import show_progress as module_under_test
from lit_nas.callbacks.show_progress import duration
from tests.methods.test_contract import loader
from tests.support.tiny import TINY

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class FullValidation:
    """Pairs for a validation, the same in every epoch."""

    def __iter__(self):
        from tests.support.tiny import pair

        yield pair(7)

    def __len__(self):
        return 1


def search(folder, bar, epochs=2, steps=3, **arguments):
    module = TINY["DARTS-first-order"]()
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, callbacks=[bar],
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(steps), FullValidation())
    return trainer


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns, as far as rich can tell."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    rich.reconfigure()
    yield
    monkeypatch.undo()
    rich.reconfigure()


def lines_of(printed):
    return [line for line in re.split(r"[\r\n]", ANSI.sub("", printed)) if line.strip()]


def test_a_log_gets_one_line_per_epoch(tmp_path, capsys):
    trainer = search(tmp_path, ShowProgress(), epochs=3)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    first, second, last = printed.splitlines()
    metrics = {name: f"{float(value):.4f}" for name, value in trainer.callback_metrics.items()}
    values = rf"weights {metrics['weights/loss']}  arch {metrics['arch/loss']}  val acc {metrics['val/accuracy']}"
    assert re.fullmatch(rf"epoch 2/2  {values}  \d+\.\d s", last)
    shape = r"weights \d\.\d{4}  arch \d\.\d{4}  val acc \d\.\d{4}  \d+\.\d s  \d+:\d\d:\d\d left"
    assert re.fullmatch(rf"epoch 0/2  {shape}", first)
    assert re.fullmatch(rf"epoch 1/2  {shape}", second)


def test_a_validation_of_an_earlier_epoch_is_not_shown_again(tmp_path, capsys):
    search(tmp_path, ShowProgress(), epochs=4, check_val_every_n_epoch=2)
    assert ["val acc" in line for line in capsys.readouterr().out.splitlines()] == [False, True, False, True]


def test_a_terminal_of_80_columns_is_wide_enough(tmp_path, capsys, terminal, monkeypatch):
    monkeypatch.setattr(module_under_test, "_INTERVAL", 0.0)
    search(tmp_path, ShowProgress(refresh_rate=100), epochs=2, steps=12)
    lines = lines_of(capsys.readouterr().out)
    assert max(len(line) for line in lines) <= 80
    bars = [line for line in lines if "Epoch 1/1" in line]
    assert any(re.search(r"left 0:00:\d\d weights \d\.\d{4} arch \d\.\d{4}", line) for line in bars)
    assert sum(line.startswith("epoch ") for line in lines) == 2


def test_losses_are_read_now_and_then(tmp_path, capsys, terminal, monkeypatch):
    looks = []
    monkeypatch.setattr(module_under_test, "_losses_so_far", lambda module: str(looks.append(0)))
    bar = ShowProgress()
    trainer = search(tmp_path, bar, epochs=1, steps=20)
    assert len(looks) <= 1 + bar._began[1] + (bar._looked - bar._began[0])  # one a second
    trainer._logger_connector = None  # looking at logged metrics, which may be on a device, would fail
    assert bar.get_metrics(trainer, trainer.lightning_module) == {}


def test_remaining_time_is_that_of_the_run(monkeypatch):
    now = SimpleNamespace(monotonic=lambda: now.value, value=100.0)
    monkeypatch.setattr(module_under_test, "time", now)
    trainer = SimpleNamespace(current_epoch=2, num_training_batches=10, max_epochs=6, max_steps=-1, global_step=0)
    bar = ShowProgress()
    bar.on_train_batch_start(trainer, None, None, 5)  # continued in the middle of epoch 2 of 6
    now.value = 115.0
    bar._estimate(trainer, 10)
    assert bar.seconds_left == pytest.approx(15 / 0.5 * 3)  # half an epoch took 15 s, three epochs remain
    trainer.max_epochs, trainer.max_steps, trainer.global_step = -1, 100, 50
    assert module_under_test._completed(trainer, 10) == 0.5


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 97_439)] == ["0:00:00", "0:01:00", "0:59:59", "27:03:59"]


def test_summary_counts_parameters_and_no_operations(tmp_path, capsys):
    module = TINY["DARTS-first-order"]()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
        callbacks=[SummariseModel()], enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, loader(1))
    printed = " ".join(capsys.readouterr().out.split())
    logits = sum(value.numel() for value in module.architecture.parameters())
    assert re.fullmatch(
        rf"Parameters: network \(SearchNetwork\) [\d.]+ K, architecture \(Architecture\) {logits}", printed
    )
