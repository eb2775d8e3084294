"""All DAGs of a size: how many there are (OEIS A101228), what is measured of them, and the file that keeps them."""

import time
from collections import Counter
from pathlib import Path

import networkx as nx
import pytest

from lit_nas.dags import all_dags, cache_folder, enumeration, measure, parse_dag

COUNTS = {1: 1, 2: 1, 3: 4, 4: 24, 5: 267, 6: 5647}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own, empty, and none in memory."""
    monkeypatch.setenv(enumeration.CACHE, str(tmp_path / "cache"))
    all_dags.cache_clear()
    yield tmp_path / "cache"
    all_dags.cache_clear()


def test_how_many_there_are_and_how_long_it_takes(folder):
    start = time.process_time()
    dags = all_dags(6)
    assert time.process_time() - start < 30
    assert Counter(dag.vertices for dag in dags) == COUNTS
    assert len({dag.name for dag in dags}) == len(dags)
    assert [dag.name for dag in dags[:6]] == [
        "dag1",
        "dag2_01",
        "dag3_01_02",
        "dag3_01_12",
        "dag3_02_12",
        "dag3_01_02_12",
    ]


@pytest.mark.slow
def test_seven_vertices(folder):
    assert Counter(dag.vertices for dag in all_dags(7)) == {**COUNTS, 7: 237_317}


@pytest.mark.parametrize("vertices", [0, 8])
def test_too_many_are_refused(vertices):
    with pytest.raises(ValueError, match=f"DAGs are enumerated for 1 to 7 vertices, not {vertices}: .* take hours"):
        all_dags(vertices)


def test_measures_are_those_of_networkx(folder):
    for dag in all_dags(5):
        graph = nx.Graph(list(parse_dag(dag.name).edges))
        graph.add_nodes_from(range(dag.vertices))
        assert measure(parse_dag(dag.name)) == dag
        for found, values in (
            (dag.eccentricity, list(nx.eccentricity(graph).values())),
            (dag.degree, [degree for _, degree in graph.degree]),
        ):
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            assert found / dag.vertices**2 == pytest.approx(variance, abs=1e-12)


def test_the_file_is_read_and_repaired(folder, monkeypatch):
    first = all_dags(4)
    path = folder / "dags-4.txt"
    written = path.read_bytes()
    assert [path] == list(folder.iterdir())  # nothing is left of writing
    monkeypatch.setattr(enumeration, "_enumerate", lambda vertices: pytest.fail("the file was not read"))
    all_dags.cache_clear()
    assert all_dags(4) == first
    monkeypatch.undo()
    monkeypatch.setenv(enumeration.CACHE, str(folder))
    for damaged in (b"", written[:-1], written.replace(b"dag4", b"dag5", 1), b"\xff\xfe", written[70:]):
        path.write_bytes(damaged)
        all_dags.cache_clear()
        assert all_dags(4) == first
        assert path.read_bytes() == written


def test_a_folder_that_cannot_be_written_to_costs_time_only(folder, monkeypatch):
    Path(folder).write_text("a file in the place of the folder")
    assert len(all_dags(4)) == 30
    monkeypatch.setattr(enumeration, "cache_folder", lambda: None)
    all_dags.cache_clear()
    assert len(all_dags(4)) == 30


def test_where_the_cache_is(monkeypatch, tmp_path):
    for name in (enumeration.CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "lit_nas"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lit_nas"
    monkeypatch.setenv(enumeration.CACHE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv(enumeration.CACHE)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
