"""A notebook is what its script says, and its script does what it shows."""

import importlib.util
import json
import re
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "notebooks"
SCRIPTS = sorted(path for path in ROOT.glob("*.py") if path.name != "build.py")
ALL = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def load_build():
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = load_build()


def test_scripts_and_notebooks_are_pairs():
    assert SCRIPTS
    assert {path.stem for path in SCRIPTS} == {path.stem for path in ROOT.glob("*.ipynb")}


@ALL
def test_a_notebook_has_the_cells_of_its_script(script):
    written = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in written["cells"]]
    assert cells == BUILD.cells(script.read_text(encoding="utf-8")), "run `python notebooks/build.py --run`"


@ALL
def test_a_notebook_is_of_format_4_5(script):
    written = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert (written["nbformat"], written["nbformat_minor"]) == (4, 5)
    assert written.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    identifiers = [cell["id"] for cell in written["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", identifier) for identifier in identifiers)
    for cell in written["cells"]:
        code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | code
    outputs = [output for cell in written["cells"] for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}  # no errors


def test_cells_of_a_script():
    script = "# %% [markdown]\n# # Title\n#\n# Text\n\n# %%\n\nx = 1\n\n\nprint(x)\n"
    script += "\n# %%\nprint(x + 1)  # %% no cell\n"
    parts = BUILD.cells(script)
    assert parts == [
        ("markdown", "# Title\n\nText"),
        ("code", "x = 1\n\n\nprint(x)"),
        ("code", "print(x + 1)  # %% no cell"),
    ]
    texts = [[output["text"] for output in outputs] for outputs in BUILD.run(parts)]
    assert texts == [[], [["1\n"]], [["2\n"]]]


@pytest.mark.parametrize(
    ("script", "message"), [("x = 1\n# %%\n", "starts with a cell"), ("# %% [markdown]\nx\n", "'x' is none")]
)
def test_what_is_no_script_is_refused(script, message):
    with pytest.raises(ValueError, match=message):
        BUILD.cells(script)


SHOWN = {  # a number that a notebook prints, the least it must be, and how many pictures there are
    "first_search": (r"test accuracy: (0\.\d+|1\.0+)", 0.9, 3),
    "fade_ranks": (r"best test accuracy: (0\.\d+|1\.0+)", 0.9, 2),
    "methods_on_a_table": (r"(\d+) cells from", 15_625, 1),
    "your_data": (r"test accuracy: (0\.\d+|1\.0+)", 0.9, 2),
}


def test_all_notebooks_are_known():
    assert SHOWN.keys() == {script.stem for script in SCRIPTS}


@pytest.mark.slow
@ALL
def test_a_script_runs_within_two_minutes(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.process_time()
    outputs = [output for cell in BUILD.run(BUILD.cells(script.read_text(encoding="utf-8"))) for output in cell]
    assert time.process_time() - start < 240  # seconds of two cores together
    printed = "".join("".join(output.get("text", [])) for output in outputs)
    pattern, least, pictures = SHOWN[script.stem]
    assert float(re.search(pattern, printed)[1]) >= least
    assert sum(output["output_type"] == "display_data" for output in outputs) == pictures
