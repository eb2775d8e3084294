"""What the README shows is what the software does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_that_is_named_exists():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for config in re.findall(r"configs/[\w/]+\.yaml", README):
        assert (ROOT / config).exists(), config


def test_every_method_has_a_row():
    import lit_nas.methods

    for name in lit_nas.methods.__all__:
        assert re.search(rf"^\| {name}", README, re.MULTILINE), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"max_epochs=\d+", "max_epochs=1", code), "README.md", "exec"), {})
    assert "test/accuracy" in capsys.readouterr().out
