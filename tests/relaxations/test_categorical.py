"""Children of a categorical prior: their distribution, their probability, its gradient and its mode."""

import math

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.clock import Moment
from lit_nas.relaxations import Categorical, CategoricalPairs, Occasion
from lit_nas.relaxations.draw import generator_of
from lit_nas.schedules import Constant, Linear
from lit_nas.spaces import DARTS_OPERATIONS, CellSpace, DartsSpace, NasBench201Space

NOW = Moment(0.0, 0.0)
NAMES = DARTS_OPERATIONS[1:]
CELL = DartsSpace(nodes=2, operations=NAMES).cells["normal"]  # 5 edges, 7 operations
MASK = torch.ones(5, 7, dtype=torch.bool)
PAIRS = CategoricalPairs().for_cell(CELL)


def numbers(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(relaxation, logits, mask, *parts, now=NOW):
    return relaxation.draw(logits.detach(), mask, now, Occasion((), "arch", generator_of(0, *parts)))


def pruned():
    mask = MASK.clone()
    mask[0, 2:], mask[3] = False, False
    return mask


def slow_pairs(logits, mask, temperature=1.0):
    """Probability of each (source, operation) for each slot, by the definition."""
    tables = []
    for slot, row in enumerate((logits / temperature).tolist()):
        target = 2 + slot // 2
        edges = [edge for edge, (_, end) in enumerate(CELL.edges) if end == target]
        powers = {
            (edge, o): math.exp(row[column]) * math.exp(row[3 + o])
            for column, edge in enumerate(edges) for o in range(7) if mask[edge, o]
        }  # fmt: skip
        tables.append({pair: power / sum(powers.values()) for pair, power in powers.items()})
    return tables


def chosen_by_slot(draw):
    """(edge, operation) of each slot of a draw."""
    hot = draw.numbers[5:].view(4, 3, 7)
    return [divmod(int(slot.flatten().argmax()), 7) for slot in hot]


def edges_of(pairs):
    """Columns of inputs as numbers of edges."""
    starts = (0, 0, 2, 2)
    return [(start + column, o) for start, (column, o) in zip(starts, pairs, strict=True)]


@pytest.mark.parametrize("mask", [MASK, pruned()])
def test_probabilities_are_the_expected_numbers_of_each_candidate(mask):
    logits = numbers(0, 4, 10)
    expected = torch.zeros(5, 7, dtype=torch.float64)
    for table in slow_pairs(logits, mask):
        for pair, p in table.items():
            expected[pair] += p
    torch.testing.assert_close(PAIRS.probabilities(logits, mask, NOW), expected, rtol=1e-12, atol=0)


def test_slots_factorise_into_inputs_and_operations():
    logits = numbers(0, 4, 10)
    logarithms, _ = PAIRS._slots(logits, MASK, 1.0)
    inputs, operations = logits[3, :3].log_softmax(-1), logits[3, 3:].log_softmax(-1)
    torch.testing.assert_close(logarithms[3].view(3, 7), inputs.unsqueeze(1) + operations)
    first = logits[0, :2].log_softmax(-1).unsqueeze(1) + logits[0, 3:].log_softmax(-1)  # a node of two inputs
    torch.testing.assert_close(logarithms[0].view(3, 7)[:2], first)


def test_children_are_drawn_as_often_as_they_are_probable():
    logits, mask = numbers(1, 4, 10), pruned()
    counts, many = [{} for _ in range(4)], 1500
    for number in range(many):
        for slot, pair in enumerate(edges_of(chosen_by_slot(drawn(PAIRS, logits, mask, number)))):
            counts[slot][pair] = counts[slot].get(pair, 0) + 1
    for table, found in zip(slow_pairs(logits, mask), counts, strict=True):
        assert set(found) <= set(table)
        distance = sum((found.get(pair, 0) - many * p) ** 2 / (many * p) for pair, p in table.items())
        freedom = len(table) - 1
        assert distance < freedom + 4 * math.sqrt(2 * freedom)


def test_a_child_executes_its_pairs_and_nothing_else():
    logits = torch.zeros(4, 10, dtype=torch.float64)
    seen = set()
    for number in range(300):
        draw = drawn(PAIRS, logits, MASK, number)
        pairs = edges_of(chosen_by_slot(draw))
        weights = PAIRS.weights(logits, MASK, NOW, draw)
        expected = torch.zeros(5, 7, dtype=torch.float64)
        for pair in pairs:
            expected[pair] += 1
        assert torch.equal(weights, expected)
        assert draw.active == tuple(tuple(row.nonzero().flatten().tolist()) for row in expected > 0)
        first, second = pairs[:2]
        seen.add("same" if first == second else "input" if first[0] == second[0] else "other")
    assert seen == {"same", "input", "other"}  # a pair twice, two operations of an input, two inputs


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("mask", [MASK, pruned()])
def test_the_score_is_one_hot_minus_the_prior(temperature, mask):
    relaxation = CategoricalPairs(temperature=Constant(temperature)).for_cell(CELL)
    logits = numbers(2, 4, 10).requires_grad_()
    draw = drawn(relaxation, logits, mask)
    value = relaxation.log_density(logits, mask, NOW, draw)
    tables, pairs = slow_pairs(logits.detach(), mask, temperature), edges_of(chosen_by_slot(draw))
    for slot, (table, pair) in enumerate(zip(tables, pairs, strict=True)):
        assert float(value[slot].detach()) == pytest.approx(math.log(table[pair]), rel=1e-12)
    (found,) = torch.autograd.grad(value.sum(), logits)
    expected = torch.zeros_like(found)
    for slot, (table, pair) in enumerate(zip(tables, pairs, strict=True)):
        start = 0 if slot < 2 else 2
        for (edge, o), p in table.items():
            expected[slot, edge - start] -= p / temperature
            expected[slot, 3 + o] -= p / temperature
        expected[slot, pair[0] - start] += 1 / temperature
        expected[slot, 3 + pair[1]] += 1 / temperature
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[:, :3].sum(-1), torch.zeros(4, dtype=torch.float64))  # of each categorical
    torch.testing.assert_close(found[:, 3:].sum(-1), torch.zeros(4, dtype=torch.float64))
    if mask is MASK:  # the closed form of the sheet of each categorical by itself
        one = torch.zeros(4, 7, dtype=torch.float64)
        one[range(4), [pair[1] for pair in pairs]] = 1
        torch.testing.assert_close(found[:, 3:], (one - (logits[:, 3:] / temperature).softmax(-1)) / temperature)


def test_operations_of_edges_have_the_same_score():
    relaxation, logits = Categorical(Constant(2.0)), numbers(3, 5, 7).requires_grad_()
    draw = drawn(relaxation, logits, MASK)
    hot = F.one_hot(torch.tensor(draw.active)[:, 0], 7).double()
    assert torch.equal(relaxation.weights(logits, MASK, NOW, draw), hot)
    value = relaxation.log_density(logits, MASK, NOW, draw)
    p = (logits.detach() / 2).softmax(-1)
    torch.testing.assert_close(value.detach(), (p * hot).sum(-1).log())
    (found,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(found, (hot - p) / 2)


def test_an_annealed_prior_is_flatter():
    relaxation = CategoricalPairs(temperature=Linear(4.0, 1.0, "epoch")).for_cell(CELL)
    logits, times = numbers(4, 4, 10), [Moment(0.0, epoch, 10.0, 10.0) for epoch in (0.0, 5.0, 9.0)]
    entropies = [float(relaxation.entropy(logits, MASK, now)) for now in times]
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[0] < float(relaxation.entropy(torch.zeros(4, 10).double(), MASK, NOW))
    hot = drawn(relaxation, 1e3 * logits, MASK, now=times[2])
    assert chosen_by_slot(hot) == [
        (int(row[: 2 if slot < 2 else 3].argmax()), int(row[3:].argmax())) for slot, row in enumerate(logits)
    ]
    for kind in (CategoricalPairs(temperature=Constant(0.0)).for_cell(CELL), Categorical(Constant(0.0))):
        with pytest.raises(ValueError, match=r"temperature of the prior must be positive, but is 0\.0 at epoch 0"):
            drawn(kind, torch.zeros(5, 7) if isinstance(kind, Categorical) else logits, MASK)


def test_a_uniform_prior_has_the_entropy_of_all_decisions():
    architecture = Architecture(DartsSpace(operations=NAMES), CategoricalPairs())
    assert {name: tuple(logits.shape) for name, logits in architecture.logits.items()} == {
        "normal": (8, 5 + 7), "reduce": (8, 5 + 7),
    }  # fmt: skip
    expected = 8 * math.log(7) + 2 * sum(math.log(inputs) for inputs in (2, 3, 4, 5))
    assert expected == pytest.approx(25.14, abs=5e-3)
    assert architecture.entropy() == {name: pytest.approx(expected) for name in ("normal", "reduce")}
    bench = Architecture(NasBench201Space(), Categorical())
    assert bench.entropy() == {"normal": pytest.approx(6 * math.log(5))}


def test_the_mode_is_the_best_pair_of_each_slot():
    logits = numbers(5, 4, 10)
    chosen = PAIRS.importance(logits, MASK, NOW)
    pairs = []
    for slot, row in enumerate(logits):
        inputs = 2 if slot < 2 else 3
        pairs.append((int(row[:inputs].argmax()), int(row[3:].argmax())))
    assert len(set(pairs[:2])) == len(set(pairs[2:])) == 2
    expected = set(edges_of(pairs))
    assert {tuple(pair) for pair in chosen.nonzero().tolist()} == expected
    for slot, pair in enumerate(edges_of(pairs)):
        assert float(chosen[pair]) == pytest.approx(slow_pairs(logits, MASK)[slot][pair])
    best = PAIRS.best(logits, MASK, NOW)
    assert torch.equal(best.numbers, (chosen > 0).double())


def test_a_pair_that_is_chosen_twice_takes_the_next_input():
    logits = torch.zeros(4, 10, dtype=torch.float64)
    logits[:, 3 + 4] = 5.0  # one operation for all
    logits[2:, :3] = torch.tensor([1.0, 3.0, 2.0])
    logits[3, :3] = torch.tensor([2.5, 3.0, 2.0])
    chosen = {tuple(pair) for pair in PAIRS.importance(logits, MASK, NOW).nonzero().tolist()}
    # the first node: both slots have its first input; the second node: input 1, and input 0 as the next of slot two
    assert chosen == {(0, 4), (1, 4), (3, 4), (2, 4)}
    only = MASK.clone()
    only[:2] = False
    only[0, 4] = True  # a single pair is left
    assert PAIRS.importance(logits, only, NOW)[:2].count_nonzero() == 1
    only[0, 4] = False
    assert not PAIRS.importance(logits, only, NOW)[:2].any()
    assert drawn(PAIRS, logits, only).active[:2] == ((), ())


def test_pairs_need_inputs_to_choose_from():
    with pytest.raises(ValueError, match="CategoricalPairs chooses inputs, but the nodes of cell 'normal' keep all"):
        Architecture(NasBench201Space(), CategoricalPairs())
    with pytest.raises(ValueError, match=r"CategoricalPairs\.pairs must be at least 1, not 0"):
        CategoricalPairs(0)
    with pytest.raises(TypeError, match="depends on the nodes of a cell"):
        CategoricalPairs().probabilities(torch.zeros(4, 10), MASK, NOW)


def test_edges_may_have_other_candidates_and_cells_one_input():
    cell = CellSpace(
        "own", ("skip_connect", "sep_conv_3x3"), ((0, 1), (0, 2), (1, 2)), num_inputs=1,
        candidates=(("skip_connect",), ("sep_conv_3x3",), ("skip_connect", "sep_conv_3x3")),
    )  # fmt: skip
    relaxation = CategoricalPairs(1).for_cell(cell)
    mask = torch.tensor([[True, False], [False, True], [True, True]])
    logits = relaxation.initial(mask).double()
    assert logits.shape == (2, 2 + 2)
    expected = torch.tensor([[1, 0], [0, 1 / 3], [1 / 3, 1 / 3]], dtype=torch.float64)
    torch.testing.assert_close(relaxation.probabilities(logits, mask, NOW), expected)
