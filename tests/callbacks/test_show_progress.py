"""Progress on a terminal and in a log, read as a user reads it."""

import re
from types import SimpleNamespace

import pytest
import rich
import torch
from pytorch_lightning import Trainer

from lit_nas.callbacks import ShowProgress, SummariseModel
from lit_nas.callbacks import show_progress as module_under_test
from lit_nas.callbacks.progress_texts import duration
from lit_nas.record.job_progress import JobProgress, PlannedStage, TimeLeft, read_job_progress
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
    assert re.fullmatch(rf"epoch 2/2  {values}  entropy 2\.0\d\d  \d+\.\d s", last)
    shape = r"weights \d\.\d{4}  arch \d\.\d{4}  val acc \d\.\d{4}  entropy 2\.0\d\d  \d+\.\d s  \d+:\d\d:\d\d left"
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
    assert any(re.search(r"left 0:00:\d\d", line) for line in bars)
    figures = r" *weights \d\.\d{4} arch \d\.\d{4}  val acc \d\.\d{4}  entropy 2\.0\d\d *"
    assert any(re.fullmatch(figures, line) for line in lines)
    assert sum(line.startswith("epoch ") for line in lines) == 2


def test_losses_are_read_now_and_then(tmp_path, capsys, terminal, monkeypatch):
    looks = []
    monkeypatch.setattr(module_under_test, "losses_so_far", lambda module: str(looks.append(0)))
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
    assert module_under_test.completed(trainer, 10) == 0.5


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


def progress(*seconds, parallel=1, whole=True):
    """A job of two searches and two retrainings, with what those that are finished took."""
    sections = [("a", "search", 10), ("b", "search", 20), ("c", "retrain", 100), ("d", "retrain", 50)]
    took = [*seconds, *[None] * (4 - len(seconds))]
    stages = [PlannedStage(*each, second) for each, second in zip(sections, took, strict=True)]
    return JobProgress(tuple(stages), parallel, whole)


@pytest.mark.parametrize(
    ("finished", "name", "left", "pace", "expected"),
    [
        ((), "a", 7.0, 2.0, 7 + 2 * (20 + 100 + 50)),  # nothing else is known of a retraining
        ((30.0,), "b", 7.0, 2.0, 7 + 2 * (100 + 50)),
        ((30.0, 60.0), "c", 7.0, 0.5, 7 + 0.5 * 50),
        ((30.0, 60.0, 400.0), "d", 7.0, 0.5, 7.0),
    ],
)
def test_remaining_time_of_a_job(finished, name, left, pace, expected):
    assert progress(*finished).time_left(name, left, pace) == (TimeLeft(pytest.approx(expected), False))
    halved = progress(*finished, parallel=2, whole=False).time_left(name, left, pace)
    assert halved == TimeLeft(pytest.approx(max(left, expected / 2)), True)


def test_paces_of_other_sections_are_those_of_their_finished_stages():
    stages = (PlannedStage("a", "search", 10, 30.0), PlannedStage("b", "retrain", 4), PlannedStage("c", "search", 5))
    assert JobProgress(stages).time_left("b", 1.0, 100.0) == TimeLeft(1 + 5 * 3.0, False)
    endless = (*stages, PlannedStage("d", "search", None))
    assert JobProgress(endless).time_left("b", 1.0, 100.0) is None


def test_progress_of_a_job_is_read_by_its_stages_alone(tmp_path):
    written = progress(30.0, parallel=2)
    assert read_job_progress(tmp_path / "b") is None
    written.save(tmp_path)
    assert read_job_progress(tmp_path / "b") == written
    assert read_job_progress(tmp_path / "elsewhere") is None
    assert written.place("b") == (2, 4)
    (tmp_path / "progress.json").write_text("{")
    assert read_job_progress(tmp_path / "b") is None


def test_a_stage_shows_its_number_and_the_time_of_the_job(tmp_path, capsys, terminal, monkeypatch):
    monkeypatch.setattr(module_under_test, "_INTERVAL", 0.0)
    monkeypatch.setenv("LIT_NAS_JOB", "lit-nas run")
    monkeypatch.setenv("COLUMNS", "120")
    rich.reconfigure()
    stages = (PlannedStage("search", "search", 2), PlannedStage("retrain", "retrain", 100_000))
    JobProgress(stages, parallel=2, whole=False).save(tmp_path)
    search(tmp_path / "search", ShowProgress(refresh_rate=100), epochs=2, steps=6)
    lines = lines_of(capsys.readouterr().out)
    assert any(re.search(r"search 1/2 Epoch 1/1 .* left 0:00:\d\d job >\d+:\d\d:\d\d", line) for line in lines)
    assert all(re.match(r"search  epoch [01]/1  weights .* job >\d", line) for line in lines if "  epoch " in line)


def test_temperature_and_zeros_are_shown_where_a_method_has_them(tmp_path, capsys):
    for name, shown in (
        ("GDAS", r"entropy \d\.\d{3}  temperature [\d.]+  "),
        ("EntmaxDARTS", r"entropy .*  zero \d+%  "),
    ):
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, logger=False, callbacks=[ShowProgress()],
            enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        module = TINY[name]()
        if name == "EntmaxDARTS":  # two far from the others, so that alpha-entmax has zeros and gradients
            module.architecture.logits["normal"].data[:, 1:3] = torch.tensor([5.0, 4.95])
        trainer.fit(module, loader(1))
        assert re.search(shown, capsys.readouterr().out), name
