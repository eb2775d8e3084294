"""Regularisers against slow sums in float64, closed forms and numbers by hand."""

import math

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.clock import Moment
from lit_nas.networks.candidate_costs import CostTable
from lit_nas.regularizers import (
    ArchitectureView,
    CostFactor,
    Entropy,
    ExpectedCost,
    MaxNorm,
    ResourceCost,
    ZeroOne,
)
from lit_nas.relaxations import Entmax, Sigmoid, Softmax
from lit_nas.schedules import Constant, Linear
from lit_nas.spaces import DartsSpace

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
SPACE = DartsSpace(init_channels=2, num_cells=4, nodes=2, operations=OPERATIONS)
ARCHITECTURE = Architecture(SPACE, Softmax())
TYPES = tuple(position.cell for position in SPACE.layout)
HALF = Moment(5.0, 1.0, 10.0, 2.0)


def numbers(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def table():
    costs = tuple((50 * numbers(9 + place, 5, 4)).abs().round() * (place + 1) for place in range(len(TYPES)))
    for cost in costs:
        cost[:, 0] = 0  # `none` is free
    return CostTable(1000.0, TYPES, costs)


def view(probabilities, relaxation=None, masks=None, clock=HALF, edges=None):
    """Of two cell types; logits are given with a relaxation, probabilities without one."""
    masks = masks or {name: torch.ones(5, 4, dtype=torch.bool) for name in SPACE.cells}
    given = dict(zip(SPACE.cells, probabilities, strict=True))
    if relaxation is not None:
        probabilities = {name: relaxation.probabilities(value, masks[name], clock) for name, value in given.items()}
    costs = table()
    probabilities = given if relaxation is None else probabilities
    edges = {} if edges is None else dict(zip(SPACE.cells, edges, strict=True))
    rivals = {name: torch.tensor([rivals_of(masks[name], edge) for edge in range(5)]) for name in edges}
    return ArchitectureView(SPACE, given, probabilities, masks, clock, lambda _: costs, edges, rivals)


def rivals_of(mask, edge):
    """How many edges with a candidate lead to the same node."""
    ends = [target for _, target in SPACE.cells["normal"].edges]
    return sum(bool(mask[other].any()) for other, end in enumerate(ends) if end == ends[edge])


def entries(seen):
    """Every probability of an active candidate, with its cell type, edge and column."""
    for name, p in seen.probabilities.items():
        for edge in range(p.shape[0]):
            for column in range(p.shape[1]):
                if seen.masks[name][edge, column]:
                    yield name, edge, column, float(p[edge, column])


def pruned():
    masks = {name: torch.ones(5, 4, dtype=torch.bool) for name in SPACE.cells}
    masks["normal"][0, 1] = masks["normal"][1, :3] = masks["reduce"][2, 2] = masks["reduce"][4] = False
    return masks


def slow_zero_one(seen, form):
    each = [(p - 0.5) ** 2 if form == "square" else abs(p - 0.5) for *_, p in entries(seen)]
    return -sum(each) / len(each)


def slow_entropy(seen):
    count = {(name, edge): 0 for name, edge, *_ in entries(seen)}
    for name, edge, *_ in entries(seen):
        count[name, edge] += 1
    return sum(p * math.log(count[name, edge] * p) for name, edge, _, p in entries(seen) if p > 0)


def slow_max_norm(seen, factors):
    rows = {(name, edge): 0.0 for name, cell in SPACE.cells.items() for edge in range(len(cell.edges))}
    for name, edge, _, p in entries(seen):
        rows[name, edge] = max(rows[name, edge], p)
    return sum(factor * row for factor, row in zip(factors, rows.values(), strict=True))


def weight(seen, name, edge, even=False):
    """Of an edge, 1 where edges have none."""
    if not seen.edges:
        return 1.0
    return 1 / rivals_of(seen.masks[name], edge) if even else float(seen.edges[name][edge])


def slow_expected(seen):
    costs, total = seen.costs("parameters"), seen.costs("parameters").fixed
    for position, kind in enumerate(TYPES):
        for name, edge, o, p in entries(seen):
            if name == kind:
                total += weight(seen, name, edge) * p * float(costs.costs[position][edge, o])
    return total


def slow_even(seen):
    costs, total = seen.costs("parameters"), seen.costs("parameters").fixed
    alive = [(name, edge) for name, edge, *_ in entries(seen)]
    for position, kind in enumerate(TYPES):
        for name, edge, o, _ in entries(seen):
            if name == kind:
                share = weight(seen, name, edge, even=True) / alive.count((name, edge))
                total += share * float(costs.costs[position][edge, o])
    return total


def slow_log(seen):
    costs, total = seen.costs("parameters"), 0.0
    for position, kind in enumerate(TYPES):
        for name, edge, o, p in entries(seen):
            if name == kind:
                share = weight(seen, name, edge) * p / TYPES.count(kind)
                total += share * math.log(max(1.0, float(costs.costs[position][edge, o])))
    return total


def slow_max_norm_at(seen, factors, temperature):
    rows = []
    for name, logits in seen.logits.items():
        for row, mask in zip(logits.tolist(), seen.masks[name].tolist(), strict=True):
            powers = [math.exp(value / temperature) for value, active in zip(row, mask, strict=True) if active]
            rows.append(max(powers) / sum(powers) if powers else 0.0)
    return sum(factor * row for factor, row in zip(factors, rows, strict=True))


FACTORS = tuple(float(factor) for factor in range(1, 11))
CASES = {
    "zero-one square": (ZeroOne(), lambda seen: slow_zero_one(seen, "square")),
    "zero-one absolute": (ZeroOne(form="absolute"), lambda seen: slow_zero_one(seen, "absolute")),
    "entropy": (Entropy(Constant(1.0)), slow_entropy),
    "max-norm": (MaxNorm(Constant(1.0)), lambda seen: slow_max_norm(seen, (1.0,) * 10)),
    "max-norm with factors": (MaxNorm(Constant(1.0), FACTORS), lambda seen: slow_max_norm(seen, FACTORS)),
    "max-norm at a temperature": (
        MaxNorm(Constant(1.0), FACTORS, temperature=10.0),
        lambda seen: slow_max_norm_at(seen, FACTORS, 10.0),
    ),
    "expected cost": (ExpectedCost(), lambda seen: slow_expected(seen) / slow_even(seen) - 1),
    "expected cost to a reference": (ExpectedCost(reference=700.0), lambda seen: slow_expected(seen) / 700.0 - 1),
    "expected cost to a small reference": (ExpectedCost(reference=0.5), lambda seen: slow_expected(seen) / 0.5 - 1),
    "logarithm of costs": (ResourceCost(estimator="expected", measures=["parameters"]), slow_log),
    "factor": (CostFactor(), lambda seen: math.log(slow_expected(seen)) / math.log(slow_even(seen))),
    "factor to a reference": (CostFactor(reference=2.0), lambda seen: math.log2(slow_expected(seen))),
}
ALL = pytest.mark.parametrize("case", CASES)
RELAXATIONS = pytest.mark.parametrize("relaxation", [Softmax(), Sigmoid(), Entmax(2.0)])


@ALL
@RELAXATIONS
@pytest.mark.parametrize("masks", [None, pruned()])
@pytest.mark.parametrize("edges", [None, [numbers(10, 5).sigmoid(), numbers(11, 5).sigmoid()]])
def test_value_is_that_of_the_slow_sum(case, relaxation, masks, edges):
    part, slow = CASES[case]
    seen = view([numbers(0, 5, 4), 2 * numbers(1, 5, 4)], relaxation, masks, edges=edges)
    assert float(part.value(seen)) == pytest.approx(slow(seen), rel=1e-12, abs=1e-12)


@ALL
@RELAXATIONS
def test_gradient_is_that_of_differences(case, relaxation):
    part, masks = CASES[case][0], pruned()

    def function(normal, reduce, *edges):
        return part.value(view([normal, reduce], relaxation, masks, edges=edges or None))

    logits = [numbers(2, 5, 4).requires_grad_(), numbers(3, 5, 4).requires_grad_()]
    assert torch.autograd.gradcheck(function, logits)
    edges = [numbers(10, 5).sigmoid().requires_grad_(), numbers(11, 5).sigmoid().requires_grad_()]
    assert torch.autograd.gradcheck(function, logits + edges)


def test_zero_one_of_the_paper():
    """Gates of one half: value 0 and no gradient of the square; both forms end at -1/4 and -1/2."""
    for form, least in (("square", -0.25), ("absolute", -0.5)):
        part = ZeroOne(form=form)
        logits = [torch.zeros(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        value = part.value(view(logits, Sigmoid()))
        assert value == 0
        assert all((gradient == 0).all() for gradient in torch.autograd.grad(value, logits))
        ends = [torch.where(numbers(4, 5, 4) > 0, 1.0, 0.0).double() for _ in range(2)]
        assert part.value(view(ends)) == least
    gates = [numbers(5, 5, 4).requires_grad_(), numbers(6, 5, 4).requires_grad_()]
    gradient = torch.autograd.grad(ZeroOne().value(view(gates, Sigmoid())), gates)
    for found, gate in zip(gradient, gates, strict=True):
        s = gate.detach().sigmoid()
        torch.testing.assert_close(found, -2 / 40 * (s - 0.5) * s * (1 - s), rtol=1e-12, atol=0)


def test_entropy_lies_between_equal_and_decided():
    part = Entropy(Constant(1.0))
    even = torch.full((5, 4), 0.25, dtype=torch.float64)
    decided = torch.zeros(5, 4, dtype=torch.float64)
    decided[:, 2] = 1
    assert part.value(view([even, even])) == 0
    assert float(part.value(view([decided, decided]))) == pytest.approx(10 * math.log(4))
    decided.requires_grad_()
    (gradient,) = torch.autograd.grad(part.value(view([decided, even])), decided)
    assert gradient.isfinite().all()  # entropy alone is infinitely steep there


def test_a_positive_strength_of_entropy_spreads_and_of_max_norm_lowers_the_largest():
    for part in (Entropy(Constant(1.0)), MaxNorm(Constant(1.0))):
        logits = [numbers(7, 5, 4).requires_grad_(), numbers(8, 5, 4).requires_grad_()]
        gradient = torch.autograd.grad(part.value(view(logits, Softmax())), logits)
        for found, each in zip(gradient, logits, strict=True):
            best = each.argmax(-1, keepdim=True)
            assert (found.gather(-1, best) > 0).all()  # descent lowers it


def test_expected_cost_has_the_gradient_of_the_paper():
    """p_i (F_i - sum of p F), ProxylessNAS, equation 5; and one decided cell costs what it holds."""
    part, costs = ExpectedCost(reference=10.0), table()
    logits = [numbers(7, 5, 4).requires_grad_(), numbers(8, 5, 4).requires_grad_()]
    seen = view(logits, Softmax())
    gradient = torch.autograd.grad(part.value(seen), logits)
    for found, (name, p) in zip(gradient, seen.probabilities.items(), strict=True):
        cost = costs.by_type[name]
        torch.testing.assert_close(found, p * (cost - (p * cost).sum(-1, keepdim=True)) / 10, rtol=1e-10, atol=1e-12)
    decided = torch.zeros(5, 4, dtype=torch.float64)
    decided[:, 3] = 1
    total = 1000 + sum(float(cost[:, 3].sum()) for cost in costs.costs)
    assert float(part.value(view([decided, decided]))) == pytest.approx(total / 10 - 1)


def test_composition_with_the_loss():
    seen = view([numbers(7, 5, 4), numbers(8, 5, 4)], Softmax())
    loss = torch.tensor(3.0, dtype=torch.float64)
    added = ExpectedCost(Linear(0.0, 2.0), reference=700.0)
    assert float(added(loss, added.value(seen), added.strength(HALF))) == pytest.approx(
        3 + 1.0 * (slow_expected(seen) - 700) / 700
    )
    times = CostFactor(Constant(0.3), reference=700.0, scale=0.2)
    assert float(times(loss, times.value(seen), times.strength(HALF))) == pytest.approx(
        0.2 * 3 * (math.log(slow_expected(seen)) / math.log(700)) ** 0.3
    )
    assert [part.takes_loss for part, _ in CASES.values()] == [False] * 10 + [True] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroOne(10.0), r"ZeroOne\.strength must be a schedule, for example Constant\(0\.1\), not 10\.0"),
        (lambda: ZeroOne(form="cubic"), "ZeroOne.form must be square or absolute, not 'cubic'"),
        (lambda: MaxNorm(Constant(1.0), [math.inf]), "MaxNorm.factors must be finite numbers"),
        (
            lambda: MaxNorm(Constant(1.0), [1.0]).check(ARCHITECTURE),
            "has the length 1, but the cell types normal, reduce",
        ),
        (
            lambda: MaxNorm(Constant(1.0), temperature=0.0),
            r"MaxNorm\.temperature must be a positive number or null, not 0",
        ),
        (lambda: ExpectedCost(measure="latency"), "ExpectedCost.measure must be one of parameters, multiply_adds, op"),
        (lambda: ExpectedCost(reference=0.0), r"ExpectedCost\.reference must be above 0 or null, not 0\.0"),
        (lambda: CostFactor(reference=1.0), r"CostFactor\.reference must be above 1 or null, not 1\.0"),
        (lambda: CostFactor(scale=0.0), r"CostFactor\.scale must be a positive number, not 0\.0"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_as_many_factors_as_edges_fit():
    MaxNorm(Constant(1.0), FACTORS).check(ARCHITECTURE)
    MaxNorm(Constant(1.0)).check(ARCHITECTURE)
