"""Benchmarks run: at the least sizes, because what they print here says nothing."""

import runpy
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from lit_nas.data import TextFolderDataModule

FOLDER = Path(__file__).parents[1] / "benchmarks"
LEAST = ["--batch", "2", "--size", "8", "--channels", "2", "--cells", "3", "--threads", "1", "--device", "cpu"]


@pytest.fixture
def start(monkeypatch):
    """Runs a benchmark in this process, which takes back its number of threads."""
    threads = torch.get_num_threads()

    def run(name, *arguments):
        monkeypatch.syspath_prepend(FOLDER)  # some import others
        monkeypatch.setattr(sys, "argv", [name, *LEAST, *arguments])
        runpy.run_path(str(FOLDER / name), run_name="__main__")

    yield run
    torch.set_num_threads(threads)
    sys.modules.pop("search_step", None)


def test_sampled_step(start, capsys):
    start("sampled_step.py", "--draws", "1", "--repeats", "1")
    _, _, *rows, _ = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["reference", "fused"]
    for row in rows:
        assert all(float(number) > 0 for number in row.split()[1:])


def test_dag_step(start, capsys):
    start("dag_step.py", "--repeats", "1")
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [row[:22].strip() for row in rows] == [
        f"{engine}, {draw}" for engine in ("reference", "fused") for draw in ("all cells", "one cell")
    ]
    for row in rows:
        assert all(float(number) > 0 for number in row[22:].split())


def test_recurrent_step(monkeypatch, capsys):
    threads = torch.get_num_threads()
    least = ["--batch", "2", "--width", "3", "--window", "2", "--vocabulary", "5", "--repeats", "1"]
    for more in ([], ["--whole"]):
        monkeypatch.setattr(sys, "argv", ["recurrent_step.py", *least, *more])
        runpy.run_path(str(FOLDER / "recurrent_step.py"), run_name="__main__")
        _, _, *rows = capsys.readouterr().out.splitlines()
        assert [row.split()[0] for row in rows] == ["search", "chosen"]
    torch.set_num_threads(threads)


def test_the_plain_recurrent_cells_are_those_of_lit_nas(monkeypatch):
    """What is measured beside the cells of lit-nas computes the same."""
    found = runpy.run_path(str(FOLDER / "recurrent_step.py"))
    options = Namespace(batch=3, width=4, window=3, vocabulary=5, whole=True, threads=1)
    for ours, plain in found["rows"](options).values():
        torch.testing.assert_close(ours.loss(), plain.loss())


def test_unigram_perplexity(tmp_path):
    perplexity = runpy.run_path(str(FOLDER / "language_model.py"))["unigram_perplexity"]
    for part, text in (("train", "a a a b\n"), ("valid", "a\n"), ("test", "b a a\n")):
        (tmp_path / f"{part}.txt").write_text(text)
    # counts with one added: a 4, b 2, <eos> 2, <unk> 1
    expected = (9 / 4 * 9 / 4 * 9 / 2) ** (1 / 3)
    assert perplexity(TextFolderDataModule(str(tmp_path))) == pytest.approx(expected)


def test_memory(start, capsys):
    start("memory.py", "--repeats", "1", "--channels", "8", "--methods", "DARTS", "PCDARTS", "GDAS")
    _, _, *rows = capsys.readouterr().out.splitlines()
    names = ["DARTS", "PCDARTS", "GDAS"]
    assert [row.split()[:2] for row in rows] == [[name, level] for level in ("weights", "arch") for name in names]
    for row in rows:
        assert all(float(number.removesuffix("x")) > 0 for number in row.split()[2:])
        assert row.split()[3] == "1.00x" or float(row.split()[3][:-1]) < 1


@pytest.mark.parametrize("edges", ["ends", "all"])
def test_correlation(start, capsys, edges):
    start("correlation.py", "--images", "8", "--few", "4", "--turns", "2", "--edges", edges)
    heading, _, *rows, few, whole, added = capsys.readouterr().out.splitlines()
    assert heading == f"2 x 4 images, edges {edges}"
    assert [row.split()[0] for row in rows] == ["passes", "correlations", "ratio"]
    for row in rows:
        assert all(float(number.removesuffix("x")) > 0 for number in row.split()[1:])
    assert few.startswith("peak MiB after 4 images at once: ")
    assert whole.startswith("peak MiB after 8 images at once: ")
    assert added.endswith(" MiB")
