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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no file 'text/test.txt'"),
        (["--retrain.data.eval_batch_size", "99"], "data.eval_batch_size is 99, but the valid text has"),
    ],
)
def test_a_job_looks_at_all_its_texts_before_the_search(arguments, message, text, capsys):
    (text / "test.txt").unlink()
    sizes = ["--search.data.batch_size", "4", "--retrain.data.batch_size", "4", "--data.window", "6"]
    assert main(["run", *JOB, *sizes, *arguments]) == 2
    assert f"In the section `retrain`: {message}" in capsys.readouterr().err
    assert not list(text.parent.rglob("*.ckpt"))
