"""The space of NAS-Bench-201 is data, and refuses what it does not have."""

from typing import get_args

import pytest

from lit_nas.spaces import NasBench201Space
from lit_nas.spaces.nas_bench_201 import Operation
from lit_nas.spaces.nas_bench_201_strings import CELL_OPERATIONS


def test_one_cell_type_with_six_edges():
    cell = NasBench201Space().cells["normal"]
    assert list(NasBench201Space().cells) == ["normal"]
    assert cell.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert cell.operations == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert (cell.num_inputs, cell.targets, cell.concat) == (1, (1, 2, 3), (3,))
    assert {cell.stride(edge) for edge in range(6)} == {1}
    assert get_args(Operation) == CELL_OPERATIONS


def test_fifteen_cells_in_three_stages():
    layout = NasBench201Space().layout
    assert [position.channels for position in layout] == [16] * 5 + [32] * 5 + [64] * 5
    assert {position.cell for position in layout} == {"normal"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init_channels": 0}, r"space\.init_channels must be at least 1, not 0"),
        ({"cells_per_stage": 0}, r"space\.cells_per_stage must be at least 1, not 0"),
        ({"operations": ["none", "sep_conv_3x3"]}, r"\['sep_conv_3x3'\], which NAS-Bench-201 does not have"),
        ({"operations": ["none", "conv"]}, r"Unknown operations \['conv'\]"),
        ({"cells_per_stage": 334}, r"space\.cells_per_stage must be at most 333, not 334"),
        ({"operations": []}, "at least one operation"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NasBench201Space(**arguments)


def test_edges_may_have_candidates_of_their_own():
    rows = [["nor_conv_3x3"], ["none", "skip_connect"], ["skip_connect"], ["none"], ["avg_pool_3x3"], ["nor_conv_1x1"]]
    cell = NasBench201Space(candidates={"normal": rows}).cells["normal"]
    assert cell.allowed == ((3,), (0, 1), (1,), (0,), (4,), (2,))
    with pytest.raises(ValueError, match=r"space\.candidates names the cells \['reduce'\]; the space has normal"):
        NasBench201Space(candidates={"reduce": rows})
