"""The limit of skip connections, over any rule and in any space; the loop of its paper is tested with P-DARTS."""

import pytest
import torch

from lit_nas.derivation import ArgmaxPerEdge, EmptyCellError, LimitedSkips, TopEdges
from lit_nas.spaces import DartsSpace, NasBench201Space
from tests.derivation.test_derivers import random_probabilities

SPACE, CELL = DartsSpace(), NasBench201Space()


def skips(genotype, cell="normal"):
    return [(edge.source, edge.target) for edge in genotype.cells[cell].edges if edge.operation == "skip_connect"]


def table(space, values):
    """Probabilities that are small but for skip connections, which each edge has by its own value."""
    tables = random_probabilities(0, space)
    for name in tables:
        tables[name] *= 1e-3
    tables["normal"][:, space.operations.index("skip_connect")] = torch.tensor(values, dtype=torch.float64)
    return tables


def test_the_least_probable_go_first_and_only_where_there_is_a_limit():
    strengths = [0.9, 0.8, *(0.1 + 0.05 * edge for edge in range(12))]
    tables = table(SPACE, strengths)
    tables["reduce"] = tables["normal"].clone()
    whole = TopEdges()(SPACE, tables)
    assert len(skips(whole)) == 8
    wide = LimitedSkips(8)(SPACE, tables)
    for name, cell in whole.cells.items():
        assert set(wide.cells[name].edges) == set(cell.edges)
        assert list(wide.cells[name].edges) == sorted(cell.edges, key=lambda edge: (edge.target, edge.source))
    found = LimitedSkips(2)(SPACE, tables)
    assert found.cells["reduce"] == wide.cells["reduce"]
    assert skips(found) == [(0, 2), (1, 2)]  # those with 0.9 and 0.8
    assert len(skips(LimitedSkips(2, cells=("normal", "reduce"))(SPACE, tables), "reduce")) == 2
    for limit in range(9):
        assert len(skips(LimitedSkips(limit)(SPACE, tables))) <= limit


def test_the_probability_that_others_have_decides_what_takes_the_place():
    tables = table(SPACE, [0.5] * 14)
    tables["normal"][0, 4], tables["normal"][1, 5] = 0.3, 0.2
    (first, second) = LimitedSkips(0)(SPACE, tables).cells["normal"].inbound(2)
    assert (first.operation, second.operation) == ("sep_conv_3x3", "sep_conv_5x5")


def test_of_equals_the_first_goes():
    tables = table(CELL, [0.5] * 6)
    assert skips(LimitedSkips(2)(CELL, tables)) == [(1, 3), (2, 3)]


def test_the_rule_of_the_space_is_kept():
    tables = table(CELL, [0.5, 0.6, 0.7, 0.4, 0.8, 0.3])
    tables["normal"][0, 0] = 0.4  # `none` comes second on the first edge
    assert len(skips(ArgmaxPerEdge()(CELL, tables))) == 6
    found = LimitedSkips(3)(CELL, tables)
    assert skips(found) == [(0, 2), (1, 2), (1, 3)]
    assert found.cells["normal"].edges[0].operation == "none"
    own = LimitedSkips(3, ArgmaxPerEdge(exclude=("none",)))(CELL, tables)
    assert own.cells["normal"].edges[0].operation != "none"


def test_what_has_been_pruned_does_not_come_back():
    tables = table(CELL, [0.9] * 6)
    masks = {"normal": torch.ones(6, 5, dtype=torch.bool)}
    masks["normal"][:, 2] = False
    tables["normal"][:, 2] = 0.8
    before = masks["normal"].clone()
    found = LimitedSkips(0)(CELL, tables, masks)
    assert CELL.operations[2] not in {edge.operation for edge in found.cells["normal"].edges}
    assert torch.equal(masks["normal"], before)


def test_an_edge_that_has_nothing_else_disappears():
    space = DartsSpace(nodes=2, candidates={"normal": [["skip_connect"], ["sep_conv_3x3"], *[["skip_connect"]] * 3]})
    tables = random_probabilities(1, space)
    found = LimitedSkips(1)(space, tables).cells["normal"]
    assert sum(edge.operation == "skip_connect" for edge in found.edges) == 1
    only = DartsSpace(nodes=1, candidates={"normal": [["skip_connect"], ["skip_connect"]]})
    with pytest.raises(EmptyCellError, match="Nothing is left of cell 'normal'"):
        LimitedSkips(0)(only, random_probabilities(1, only))


def test_spaces_without_skip_connections_are_left_alone():
    space = DartsSpace(operations=("none", "sep_conv_3x3", "max_pool_3x3"))
    tables = random_probabilities(2, space)
    assert set(LimitedSkips(0)(space, tables).cells["normal"].edges) == set(
        TopEdges()(space, tables).cells["normal"].edges
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LimitedSkips(-1), r"LimitedSkips\.limit \(model\.deriver\.limit\) must not be negative, but is -1"),
        (lambda: LimitedSkips(cells=()), r"LimitedSkips\.cells \(model\.deriver\.cells\) names no cell"),
        (
            lambda: LimitedSkips(cells=("normal", "reduce"))(CELL, random_probabilities(0, CELL)),
            r"names \['reduce'\], but the space has normal",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.timeout(60)
def test_copies_of_a_skip_connection_are_limited_together():
    """Whichever copy is the most probable of an edge, it goes, and so do those behind it."""
    names = (*SPACE.operations, "skip_connect_2", "skip_connect_3")
    space = DartsSpace(operations=names)
    tables = random_probabilities(0, space)
    copies = [names.index(name) for name in ("skip_connect", "skip_connect_2", "skip_connect_3")]
    for name in tables:
        tables[name] *= 1e-3
        for place, column in enumerate(copies):
            tables[name][:, column] = torch.linspace(0.2, 0.9, 14, dtype=torch.float64) / (1 + (place + 1) % 3)
    assert len(skips(TopEdges()(space, tables))) == 8
    for limit in (0, 2, 5):
        assert len(skips(LimitedSkips(limit)(space, tables))) == limit
    assert skips(LimitedSkips(2)(space, tables)) == [(3, 5), (4, 5)]  # the last edges are the most probable
