"""The space of FaDE: its rows, what it refuses, and the layer that searches it."""

from dataclasses import replace

import pytest

from lit_nas.architecture import Architecture
from lit_nas.dags import FeatureSpace, parse_dag
from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.relaxations import Softmax
from lit_nas.spaces import HAND_PICKED_DAGS, Candidates, DagSpace
from tests.methods.test_gdas import PAPER
from tests.support.tiny import DAGS

EXPECTED = {
    "search/gdas.yaml + layers/space/dags.yaml": {
        **PAPER,
        "model.space": ("DagSpace", {
            "widths": [4, 8, 16, 32], "dags": list(HAND_PICKED_DAGS), "rows": [], "vertices": 6,
            "transition_kernel": 5, "bias": True, "candidates": None,
        }),
    },
}  # fmt: skip


def test_the_default_is_experiment_1():
    """Four cells, five DAGs in each row with equally many convolutions, so 625 networks."""
    space = DagSpace()
    assert [position.channels for position in space.layout] == [4, 8, 16, 32]
    assert [position.cell for position in space.layout] == list(space.cells) == ["row_1", "row_2", "row_3", "row_4"]
    assert {cell.operations for cell in space.cells.values()} == {HAND_PICKED_DAGS}
    assert {parse_dag(name).convolutions for name in HAND_PICKED_DAGS} == {7}
    assert len({FeatureSpace().point(name) for name in HAND_PICKED_DAGS}) == 5
    assert space.reductions == 3
    logits = Architecture(space, Softmax()).parameters()
    assert sum(parameter.numel() for parameter in logits) == 4 * 5


def test_rows_of_their_own():
    space = DagSpace(widths=[2, 4], rows=[["dag1"], ["dag2_01", "dag1"]])
    assert {name: cell.operations for name, cell in space.cells.items()} == {
        "row_1": ("dag1",), "row_2": ("dag2_01", "dag1"),
    }  # fmt: skip
    assert hash(space) == hash(DagSpace(widths=(2, 4), rows=(("dag1",), ("dag2_01", "dag1"))))


def test_candidates_that_a_search_has_left(tmp_path):
    architecture = Architecture(DAGS, Softmax())
    Candidates.of(architecture).save(tmp_path / "candidates.json")
    assert replace(DAGS, candidates=tmp_path / "candidates.json").cells.keys() == DAGS.cells.keys()
    left = replace(DAGS, candidates={"row_1": [["dag1"]]}).cells
    assert left["row_1"].names(0) == ("dag1",)
    assert left["row_3"].names(0) == DAGS.rows[2]
    with pytest.raises(ValueError, match=r"space\.candidates\.row_1 gives edge \(0, 1\) the operations \['dag2_01'\]"):
        replace(DAGS, candidates={"row_1": [["dag2_01"]]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dags": []}, r"space\.dags is empty, but a row needs at least one DAG\."),
        ({"widths": [4], "rows": [[]]}, r"space\.rows\[0\] is empty"),
        ({"dags": ["dag1", "dag2_01", "dag1"]}, r"space\.dags has dag1 more than once"),
        ({"dags": ["sep_conv_3x3"]}, r"space\.dags: 'sep_conv_3x3' is no name of a DAG"),
        ({"widths": [4, 4], "rows": [["dag1"], ["dag3_01"]]}, r"space\.rows\[1\]: 'dag3_01' names no DAG: its 3 verti"),
        ({"dags": ["dag3_12_01"]}, r"space\.dags: The DAG 'dag3_12_01' is called 'dag3_01_12'"),
        ({"vertices": 5}, r"space\.dags has 'dag6_01_02_13_24_35_45', but space\.vertices allows 5 vertices at most"),
        ({"vertices": 11}, r"space\.vertices must be 1 to 10, not 11"),
        ({"rows": [["dag1"]]}, r"space\.rows has 1 rows, but space\.widths has 4 numbers: give one of both"),
        ({"widths": []}, r"space\.widths must be 1 to 1000 numbers of channels, each at least 1, not \(\)"),
        ({"widths": [4, 0]}, r"space\.widths must be 1 to 1000 numbers of channels, each at least 1, not \(4, 0\)"),
        ({"transition_kernel": 2}, r"space\.transition_kernel must be odd and at least 1, not 2"),
        ({"candidates": {"row_5": [["dag1"]]}}, r"space\.candidates names the cells \['row_5'\]; the space has row_1"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DagSpace(**arguments)


def cell(operation, more=()):
    return CellGenotype((Edge(operation, 0, 1), *more), (1,), 1)


def test_genotypes_are_chains_of_dags():
    genotype = Genotype({"row_1": cell("dag1"), "row_2": cell("dag4_01_02_13_23")}, "dags")
    assert Genotype.from_json(genotype.to_json()) == genotype
    with pytest.raises(ValueError, match="has the cells row_1, row_2 and so on, but this one has row_2"):
        Genotype({"row_2": cell("dag1")}, "dags")
    for wrong in (cell("none"), cell("dag1", [Edge("dag1", 0, 1)])):
        with pytest.raises(
            ValueError, match=r"cells\.row_1 of a genotype of the space 'dags' has one input and one edge"
        ):
            Genotype({"row_1": wrong}, "dags")
    with pytest.raises(ValueError, match=r"cells\.row_1\.nodes: 'dag2' names no DAG"):
        Genotype({"row_1": cell("dag2")}, "dags")


def test_candidates_of_all_rows_do_not_matter_where_rows_have_their_own():
    rows = (("dag1", "dag2_01"), ("dag3_01_12",))
    space = DagSpace(widths=(2, 3), rows=rows, vertices=3)  # those of all rows have up to six
    assert [cell.operations for cell in space.cells.values()] == list(rows)
    with pytest.raises(ValueError, match=r"space\.dags has 'dag4_"):
        DagSpace(widths=(2, 3), vertices=3)
