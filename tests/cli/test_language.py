"""What the command line says of language models before anything is trained."""

from pathlib import Path

import pytest

from lit_nas.cli import main, training
from tests.support.tiny_text import write_texts

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RETRAINING, SEARCH = (["-c", str(CONFIGS / part / "darts_rnn.yaml")] for part in ("retrain", "search"))
JOB = ["-c", str(CONFIGS / "job" / "language_model.yaml"), "--folder", "job", "--data.root", "text"]


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_texts(tmp_path / "text")


@pytest.mark.parametrize(("config", "model"), [(RETRAINING, "LanguageRetrainModule"), (SEARCH, "RecurrentDARTS")])
def test_there_is_nothing_to_predict(config, model, text, capsys):
    width = "--model.space.width" if model == "RecurrentDARTS" else "--model.width"
    assert main(["predict", *config, width, "6", "--data.root", str(text)]) == 2
    assert f"what a model says of images, but {model} has no such answer: `lit-nas test`" in capsys.readouterr().err


@pytest.mark.parametrize(("config", "kind"), [(RETRAINING, "retrain"), (SEARCH, "search")])
def test_loggers_are_told_a_retraining_from_a_search(config, kind, text, monkeypatch):
    told = []
    monkeypatch.setattr(training, "name_loggers", lambda loggers, identity, may_write: told.append(identity.job_type))
    training.TrainingCLI([*config, "--data.root", str(text)], run=False, parse_only=True)
    assert told == [kind]
