import inspect
from itertools import product

import pytest
import torch

from lit_nas import derivation
from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, Deriver, EmptyCellError, TopEdges
from lit_nas.genotype import Edge
from lit_nas.record.plain import plain
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace, NasBench201Space

SPACE = DartsSpace()
OFFSETS = (0, 2, 5, 9, 14)
PUBLIC = {name: getattr(derivation, name) for name in derivation.__all__}
DERIVERS = [name for name, each in PUBLIC.items() if isinstance(each, type) and issubclass(each, Deriver)]


def random_probabilities(seed, space=SPACE):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(len(cell.edges), len(cell.operations), generator=generator, dtype=torch.float64).softmax(-1)
        for name, cell in space.cells.items()
    }


def slow_top_edges(table, k):
    """By comparing everything with everything, on [source][target] grids."""
    edges, row = [], 0
    for target in range(2, 6):
        ranked = []
        for source in range(target):
            strengths = [(float(table[row][o]), -o) for o in range(1, 8)]
            value, negative = max(strengths)
            ranked.append((value, -source, DARTS_OPERATIONS[-negative]))
            row += 1
        ranked = sorted(ranked, reverse=True)[:k]
        edges += [Edge(name, -source, target) for _, source, name in ranked]
    return tuple(edges)


@pytest.mark.parametrize(("seed", "k"), list(product(range(5), (1, 2, 3, 5))))
def test_top_edges_equal_the_slow_computation(seed, k):
    probabilities = random_probabilities(seed)
    genotype = TopEdges(k)(SPACE, probabilities)
    assert genotype.space == "darts"
    assert list(genotype.cells) == ["normal", "reduce"]
    for name, cell in genotype.cells.items():
        assert cell.edges == slow_top_edges(probabilities[name], k)
        assert cell.concat == (2, 3, 4, 5)


def test_none_is_never_chosen_however_strong():
    probabilities = random_probabilities(0)
    for table in probabilities.values():
        table *= 0.1
        table[:, 0] = 0.9
    for cell in TopEdges()(SPACE, probabilities).cells.values():
        assert len(cell.edges) == 8
        assert all(edge.operation != "none" for edge in cell.edges)
        assert all(len({edge.source for edge in cell.inbound(state)}) == 2 for state in range(2, 6))


def test_ties_go_to_lower_predecessors_and_operations():
    same = {name: torch.full((14, 8), 0.125) for name in SPACE.cells}
    for cell in TopEdges()(SPACE, same).cells.values():
        assert cell.edges == tuple(Edge("max_pool_3x3", s, t) for t in range(2, 6) for s in (0, 1))
    with pytest.raises(ValueError, match="Nothing is left of cell 'normal'"):  # `none` comes first
        ArgmaxPerEdge()(SPACE, same)


@pytest.mark.parametrize("node", range(4))
def test_permuting_rows_permutes_predecessors(node):
    probabilities = random_probabilities(1)
    rows = slice(OFFSETS[node], OFFSETS[node + 1])
    order = torch.randperm(node + 2, generator=torch.Generator().manual_seed(node))
    permuted = {name: table.clone() for name, table in probabilities.items()}
    permuted["normal"][rows] = probabilities["normal"][rows][order]
    before, after = (TopEdges()(SPACE, table).cells for table in (probabilities, permuted))
    expected = [(edge.operation, order.tolist().index(edge.source)) for edge in before["normal"].inbound(2 + node)]
    assert [edge[:2] for edge in after["normal"].inbound(2 + node)] == expected
    assert after["reduce"] == before["reduce"]


def test_argmax_keeps_every_edge_without_none():
    probabilities = random_probabilities(2)
    for name, cell in ArgmaxPerEdge(exclude=("none",))(SPACE, probabilities).cells.items():
        table = probabilities[name]
        assert len(cell.edges) == 14
        for edge in cell.edges:
            row = OFFSETS[edge.target - 2] + edge.source
            assert edge.operation == DARTS_OPERATIONS[1 + int(table[row, 1:].argmax())]
        for state in range(2, 6):
            strengths = [float(table[OFFSETS[state - 2] + e.source, 1:].max()) for e in cell.inbound(state)]
            assert strengths == sorted(strengths, reverse=True)


def test_argmax_removes_empty_nodes_and_what_they_feed():
    table = torch.zeros(14, 8)
    table[:, 0] = 1.0
    for row in (4, 8, 9):  # 2 -> 3 (its source is empty), 3 -> 4 (then empty as well), 0 -> 5
        table[row] = torch.eye(8)[3]
    cells = ArgmaxPerEdge()(SPACE, {"normal": table, "reduce": table}).cells
    assert cells["normal"].edges == (Edge("skip_connect", 0, 5),)
    assert cells["normal"].concat == (5,)


@pytest.mark.parametrize("deriver", [TopEdges(exclude=()), ArgmaxPerEdge(exclude=["skip_connect"])])
def test_exclude_is_obeyed(deriver):
    table = torch.full((14, 8), 0.05)
    table[:, 0 if isinstance(deriver, TopEdges) else 3] = 0.65
    table[:, 5] = 0.06
    cells = deriver(SPACE, {"normal": table, "reduce": table}).cells
    expected = "none" if isinstance(deriver, TopEdges) else "sep_conv_5x5"
    assert {edge.operation for edge in cells["normal"].edges} == {expected}


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"TopEdges\.k .* must be at least 1, not 0"):
        TopEdges(0)
    for kind in (TopEdges, ArgmaxPerEdge):
        with pytest.raises(
            ValueError, match=rf"Unknown operations \['zero'\] in {kind.__name__}\.exclude.*Known are: none"
        ):
            kind(exclude=("zero",))


@pytest.mark.parametrize("kind", [TopEdges, ArgmaxPerEdge])
def test_wrong_probabilities(kind):
    good = random_probabilities(0)
    with pytest.raises(ValueError, match="no probabilities for cell 'reduce'"):
        kind()(SPACE, {"normal": good["normal"]})
    with pytest.raises(ValueError, match=r"have the shape \(13, 8\).* are \(14, 8\)"):
        kind()(SPACE, {**good, "normal": good["normal"][1:]})
    with pytest.raises(ValueError, match="'reduce' are not finite"):
        kind()(SPACE, {**good, "reduce": good["reduce"] * float("nan")})
    small = DartsSpace(operations=("none", "skip_connect"))
    with pytest.raises(ValueError, match=r"no operation of cell 'normal' is left: it has \['none', 'skip_connect'\]"):
        kind(exclude=("none", "skip_connect"))(small, random_probabilities(0, small))


@pytest.mark.parametrize("name", DERIVERS)
def test_contract(name):
    kind = getattr(derivation, name)
    assert issubclass(kind, Deriver)
    if not inspect.isabstract(kind):
        assert hash(kind()) == hash(kind())
        assert set(plain(kind())) == {"class_path", "init_args"}
        first, second = (kind()(SPACE, random_probabilities(3)) for _ in range(2))
        assert first == second


def slow_choice(space_cell, table, mask, exclude, limit):
    """Every edge that could be chosen, node by node, on dictionaries and with explicit loops."""
    chosen, reached = [], set(range(space_cell.num_inputs))
    for node in space_cell.targets:
        inbound = []
        for e, (source, target) in enumerate(space_cell.edges):
            if target != node or source not in reached:
                continue
            allowed = [
                (-float(table[e, o]), o)
                for o, name in enumerate(space_cell.operations)
                if mask[e, o] and name not in exclude
            ]
            if allowed:
                strength, o = min(allowed)
                inbound.append((strength, source, space_cell.operations[o]))
        if limit is None:  # `none` competes and then disappears
            inbound = [edge for edge in inbound if edge[2] != "none"]
        inbound = sorted(inbound)[:limit]
        chosen += [Edge(name, source, node) for _, source, name in inbound]
        if inbound:
            reached.add(node)
    return tuple(chosen)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_pruned_operations_are_never_chosen(seed, share):
    probabilities = random_probabilities(seed)
    generator = torch.Generator().manual_seed(seed + 100)
    masks = {name: torch.rand(14, 8, generator=generator) < share for name in probabilities}
    for deriver, exclude, limit in ((TopEdges(), ("none",), 2), (ArgmaxPerEdge(), (), None)):
        expected = {
            name: slow_choice(cell, probabilities[name], masks[name], exclude, limit)
            for name, cell in SPACE.cells.items()
        }
        if not all(expected.values()):
            with pytest.raises(EmptyCellError, match="Nothing is left of cell"):
                deriver(SPACE, probabilities, masks)
            continue
        genotype = deriver(SPACE, probabilities, masks)
        for name, cell in genotype.cells.items():
            assert cell.edges == expected[name]
            assert cell.concat == tuple(sorted({edge.target for edge in expected[name]}))
            rows = [SPACE.cells[name].edges.index((edge.source, edge.target)) for edge in cell.edges]
            assert all(
                masks[name][row, DARTS_OPERATIONS.index(edge.operation)]
                for row, edge in zip(rows, cell.edges, strict=True)
            )


def test_full_masks_change_nothing():
    probabilities = random_probabilities(4)
    masks = {name: torch.ones(14, 8, dtype=torch.bool) for name in probabilities}
    for deriver in (TopEdges(), ArgmaxPerEdge(exclude=("none",))):
        assert deriver(SPACE, probabilities, masks) == deriver(SPACE, probabilities)


def test_a_pruned_edge_of_nas_bench_201_is_none():
    space = NasBench201Space()
    probabilities = random_probabilities(0, space)
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[2] = False
    for deriver in (ArgmaxPerEdge(), ArgmaxPerEdge(exclude=("none",))):
        genotype = deriver(space, probabilities, {"normal": mask})
        assert genotype.cells["normal"].edges[2].operation == "none"
        assert len(genotype.cells["normal"].edges) == 6


def test_masks_of_another_space():
    probabilities = random_probabilities(0)
    with pytest.raises(ValueError, match="There are no masks for cell 'reduce'"):
        TopEdges()(SPACE, probabilities, {"normal": torch.ones(14, 8, dtype=torch.bool)})


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["ArgmaxPerEdge", "TopEdges"])
def test_only_candidates_of_an_edge_are_chosen(name, masked):
    rows = [["none", DARTS_OPERATIONS[1 + edge % 7]] for edge in range(14)]
    space = DartsSpace(candidates={"reduce": rows})
    masks = {kind: torch.ones(14, 8, dtype=torch.bool) for kind in space.cells} if masked else None
    probabilities = random_probabilities(3, space)
    for kind, table in probabilities.items():
        table[:, 0] = 0.0  # so that both rules choose the other one
        if masks is not None:
            masks[kind] &= torch.tensor([[o in row for o in range(8)] for row in space.cells[kind].allowed])
    cell = PUBLIC[name]()(space, probabilities, masks).cells["reduce"]
    row_of = {edge: row for row, edge in enumerate(space.cells["reduce"].edges)}
    assert cell.edges
    assert all(edge.operation == rows[row_of[edge.source, edge.target]][1] for edge in cell.edges)


def test_copies_of_an_operation_are_derived_as_what_they_are():
    operations = ("none", "skip_connect", "skip_connect_2", "sep_conv_3x3")
    space = DartsSpace(operations=operations)
    table = torch.tensor([0.4, 0.1, 0.3, 0.2]).expand(14, 4)
    tables = {"normal": table, "reduce": table}
    for deriver in (TopEdges(), ArgmaxPerEdge(exclude=("none",))):
        for cell in deriver(space, tables).cells.values():
            assert {edge.operation for edge in cell.edges} == {"skip_connect"}
    for exclude, expected in (("skip_connect", "sep_conv_3x3"), ("skip_connect_2", "sep_conv_3x3")):
        cells = TopEdges(exclude=("none", exclude))(space, tables).cells
        assert {edge.operation for edge in cells["normal"].edges} == {expected}


def test_what_a_rule_compares():
    assert TopEdges().compares == ArgmaxPerEdge().compares == "importance"
    assert TopEdges(by="logit").compares == "logits"
    with pytest.raises(ValueError, match=r"TopEdges\.by \(model\.deriver\.by\) must be probability or logit, not 'p'"):
        TopEdges(by="p")
    weighted = Architecture(SPACE, Softmax(), Softmax())
    assert torch.equal(weighted.compared("importance")["normal"], weighted.importance()["normal"])
    with pytest.raises(ValueError, match=r"A deriver by logits ignores the weights of edges.*model\.deriver\.by"):
        weighted.compared("logits")
    plain_one = Architecture(SPACE, Softmax())
    assert torch.equal(plain_one.compared("logits")["normal"], plain_one.logits["normal"].detach().double())
