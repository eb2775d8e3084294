"""Tables: what is read, what is refused, and where a cell stands."""

import builtins
import math
import sys
from types import SimpleNamespace

import pytest

from lit_nas.spaces.nas_bench_201_strings import all_architectures
from lit_nas.tabular import Table, read_csv, read_nats_bench, read_table
from tests.support.fake_table import make_table, worth

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SECOND = BEST.replace("nor_conv_3x3~2", "nor_conv_1x1~2")
EMPTY = BEST.replace("nor_conv_3x3", "none")


@pytest.fixture(scope="module")
def table():
    return make_table()


@pytest.fixture(scope="module")
def lines(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    table.save(path)
    return path.read_text().splitlines()


def test_standing(table):
    best, second, empty = (table.look_up(cell) for cell in (BEST, SECOND, EMPTY))
    assert best["cifar10"] == (82.0, 1, 0.0)
    assert best["imagenet16_120"] == (72.0, 1, 0.0)
    assert second["cifar100"] == (73.0, 2, 4.0)
    assert empty["cifar10"] == (10.0, 15_625, 72.0)
    assert table.best("cifar10") == 82.0


def test_equals_share_the_lowest_rank(table):
    others = [cell for cell in all_architectures() if worth(cell) == worth(SECOND)]
    assert len(others) == 6
    assert {table.look_up(cell)["cifar10"].rank for cell in others} == {2}
    third = BEST.replace("nor_conv_3x3~2", "avg_pool_3x3~2")
    assert table.look_up(third)["cifar10"].rank == 1 + sum(worth(cell) > worth(third) for cell in all_architectures())


def test_a_file_is_read_as_it_was_written(table, lines, tmp_path):
    path = tmp_path / "TABLE.CSV"
    head, *body = lines
    path.write_text("\n".join([f"index,{head}", *(f"{i},{line}" for i, line in enumerate(reversed(body)))]))
    read = read_table(path)
    assert (read.test, read.validation) == (table.test, table.validation)
    assert read.architectures == table.architectures


def change(line, column, value):
    cells = line.split(",")
    cells[column] = value
    return ",".join(cells)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: [], r"columns \['architecture', 'cifar100_test_200'.*are missing; it has \[\]"),
        (lambda rows: [rows[0].replace("cifar10_valid_12", "x"), *rows[1:]], r"\['cifar10_valid_12'\] are missing; it"),
        (lambda rows: rows[:-2], r"cifar10_test_200 lacks 2 of the 15,625 cells of NAS-Bench-201, '\|avg_pool"),
        (lambda rows: [*rows, rows[5]], r"line 15627: the cell '\|none~0\|.*' is there twice"),
        (lambda rows: [*rows[:3], change(rows[3], 2, "high"), *rows[4:]], "line 4: cifar100_test_200 is 'high', which"),
        (lambda rows: [*rows[:3], change(rows[3], 2, ""), *rows[4:]], "line 4: cifar100_test_200 is '', which is not"),
        (lambda rows: [*rows[:3], rows[3].rpartition(",")[0], *rows[4:]], "imagenet16_120_valid_12 is None, which is"),
        (lambda rows: [*rows[:3], change(rows[3], 6, "nan"), *rows[4:]], "imagenet16_120_valid_12 of '.*' is nan, but"),
        (
            lambda rows: [*rows[:3], change(rows[3], 1, "100.5"), *rows[4:]],
            r"is 100\.5, but must be a number from 0 to",
        ),
        (
            lambda rows: [*rows[:3], change(rows[3], 1, "-1"), *rows[4:]],
            r"is -1\.0, but must be a number from 0 to 100",
        ),
        (lambda rows: [*rows[:3], change(rows[3], 0, "|x~0|"), *rows[4:]], r"line 4: '\|x~0\|' is not a cell of NAS-"),
    ],
)
def test_wrong_files(edit, message, lines, tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text("\n".join(edit(lines)))
    with pytest.raises(ValueError, match=rf"wrong\.csv' is not a table of NAS-Bench-201: .*{message}"):
        read_csv(path)


def test_missing_files_and_cells(table, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table '.*none\.csv'\. docs/nas_bench_201\.md says how"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"neither a CSV file .* nor the official file of NATS-Bench"):
        read_table(tmp_path / "NATS-tss-v1_0-3ffb9-simple")
    with pytest.raises(ValueError, match="cifar100_valid_12 lacks 15,625 of"):
        Table(table.test, {"cifar10": table.validation["cifar10"]})
    with pytest.raises(ValueError, match="is not a cell of NAS-Bench-201"):
        table.look_up("|none~0|")


class FakeApi:
    """What `nats_bench` answers, by the names that it uses."""

    def __init__(self, lacking=()):
        self.cells = {cell: i for i, cell in enumerate(reversed(all_architectures())) if cell not in lacking}
        self.by_index = {i: cell for cell, i in self.cells.items()}

    def query_index_by_arch(self, architecture):
        return self.cells.get(architecture, -1)

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert iepoch is None
        assert is_random is False  # the mean over seeds, not one of them
        value = worth(self.by_index[index])
        if hp == "200":
            return {"test-accuracy": value + {"cifar10": 10.0, "cifar100": 5.0, "ImageNet16-120": 0.0}[dataset]}
        assert (hp, dataset) in {("12", name) for name in ("cifar10-valid", "cifar100", "ImageNet16-120")}
        return {"valid-accuracy": value / 4, "test-accuracy": math.nan}


def test_official_files_give_the_same_table(table, tmp_path, monkeypatch):
    asked = []

    def create(path, space, fast_mode, verbose):
        asked.append((path, space, fast_mode, verbose))
        return FakeApi()

    monkeypatch.setitem(sys.modules, "nats_bench", SimpleNamespace(create=create))
    read = read_table(tmp_path)
    assert (read.test, read.validation) == (table.test, table.validation)
    (tmp_path / "full.pickle.pbz2").touch()
    read_table(tmp_path / "full.pickle.pbz2")
    assert asked == [(str(tmp_path), "tss", True, False), (f"{tmp_path}/full.pickle.pbz2", "tss", False, False)]
    with pytest.raises(ValueError, match=r"'file' lacks the cell '\|none~0"):
        read_nats_bench("file", FakeApi(lacking=(EMPTY,)))


def test_the_package_is_asked_for(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "nats_bench":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match="read with the package nats_bench, which is not installed: `pip install"):
        read_table(tmp_path)
