"""The DARTS space is data, and refuses what it does not know."""

import pytest

from lit_nas.spaces import CellSpace, DartsSpace, reduction_places


def test_rows_follow_targets_and_sources():
    edges = DartsSpace().cells["normal"].edges
    assert len(edges) == 14
    assert [edges[offset] for offset in (0, 2, 5, 9)] == [(0, 2), (0, 3), (0, 4), (0, 5)]
    assert edges[-1] == (4, 5)


def test_layout():
    layout = DartsSpace().layout
    assert [p.cell for p in layout] == ["normal", "normal", "reduce", "normal", "normal", "reduce", "normal", "normal"]
    assert [p.channels for p in layout] == [16, 16, 32, 32, 32, 64, 64, 64]
    assert reduction_places(20) == (6, 13)
    assert reduction_places(14) == (4, 9)


def test_only_edges_from_the_inputs_of_a_reduction_cell_have_stride_two():
    cells = DartsSpace().cells
    assert {cells["normal"].stride(e) for e in range(14)} == {1}
    assert [cells["reduce"].stride(e) for e in range(14)] == [2 if s < 2 else 1 for s, _ in cells["reduce"].edges]


def test_operations_are_data():
    names = ["skip_connect", "sep_conv_7x7", "conv_7x1_1x7", "max_pool_5x5", "avg_pool_5x5"]
    assert DartsSpace(operations=names).cells["reduce"].operations == tuple(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": ("skip_connect", "sep_conv_9x9")}, r"\['sep_conv_9x9'\].*Known are: none, max_pool_3x3"),
        ({"operations": ("none", "none")}, "twice"),
        ({"operations": ()}, "at least one operation"),
        ({"init_channels": 15}, "even"),
        ({"init_channels": 0}, "at least 1"),
        ({"nodes": 0}, "space.nodes"),
        ({"num_cells": 2}, "space.num_cells must be at least 3"),
        ({"num_cells": 1001}, "space.num_cells must be at most 1000, not 1001"),
        ({"nodes": 21}, "space.nodes must be at most 20, not 21"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DartsSpace(**arguments)


def test_edges_must_point_forward_and_be_sorted():
    with pytest.raises(ValueError, match="does not point forward"):
        CellSpace("normal", ("none",), ((3, 2),))
    with pytest.raises(ValueError, match="sorted by target"):
        CellSpace("normal", ("none",), ((0, 3), (0, 2)))


ROWS = [["none", "sep_conv_3x3"], ["skip_connect"], ["sep_conv_3x3"], ["max_pool_3x3", "none"], ["sep_conv_5x5"]]


def test_edges_may_have_candidates_of_their_own():
    space = DartsSpace(nodes=2, candidates={"reduce": [list(reversed(row)) for row in ROWS]})
    cell = space.cells["reduce"]
    assert [cell.names(edge) for edge in range(5)] == [tuple(row) for row in ROWS[:3]] + [
        ("none", "max_pool_3x3"), ("sep_conv_5x5",),
    ]  # fmt: skip
    assert cell.allowed == ((0, 4), (3,), (4,), (0, 1), (5,))
    assert space.cells["normal"].allowed == (tuple(range(8)),) * 5
    assert space.cells["normal"].names(3) == space.operations
    assert hash(space) == hash(DartsSpace(nodes=2))
    assert space != DartsSpace(nodes=2)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({"normal": ROWS[:4]}, r"space\.candidates\.normal names candidates for 4 edges, but the cell has 5.*\(0, 2\)"),
        ({"normal": [*ROWS[:4], ["sep"]]}, r"gives edge \(2, 3\) the operations \['sep'\], which space\.operations"),
        ({"normal": [[]] * 5}, r"space\.candidates\.normal gives no edge an operation"),
        ({"normal": [*ROWS[:4], ["none", "none"]]}, r"each operation once"),
        ({"normal": []}, r"gives \['normal'\] no edges"),
        ({"other": ROWS}, r"names the cells \['other'\]; the space has normal, reduce"),
    ],
)
def test_candidates_that_do_not_fit_are_refused(candidates, message):
    with pytest.raises(ValueError, match=message):
        DartsSpace(nodes=2, candidates=candidates)
