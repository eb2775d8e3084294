"""The resource constraint of SNAS against slow sums in float64, its estimators, and relaxations that it goes with."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.engine import Reference
from lit_nas.methods import DARTS, SNAS
from lit_nas.networks import build_search_network
from lit_nas.networks.candidate_costs import candidate_costs
from lit_nas.regularizers import ArchitectureView, ResourceCost
from lit_nas.relaxations import Entmax, GumbelSoftmax, Sigmoid, Softmax
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit
from tests.search.test_search_module import double_loss
from tests.support.hard_gumbel import HardGumbel
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE

MEASURES = ("parameters", "operations", "memory_access")
LARGE = DartsSpace(init_channels=2, num_cells=5, nodes=2)


@pytest.fixture(scope="module")
def tables():
    network = build_search_network(LARGE, INPUTS, Reference())
    return {measure: candidate_costs(network, LARGE, INPUTS, measure) for measure in MEASURES}


def made(relaxation, seed=0):
    architecture = Architecture(LARGE, relaxation).double()
    generator = torch.Generator().manual_seed(seed)
    for logits in architecture.parameters():
        logits.data.normal_(generator=generator)
    return architecture


def view(architecture, tables):
    return ArchitectureView(
        architecture.space, dict(architecture.logits.items()), architecture.expected(),
        {name: architecture.mask(name) for name in architecture.cells}, architecture.clock, tables.__getitem__,
        architecture.expected_edges(), architecture.rivals(), architecture, architecture.log_densities,
    )  # fmt: skip


def edge_cost(form, shares, costs):
    """Cost of one edge by the formulas of the paper and of the code; costs by measure and candidate."""
    if form == "log":
        return sum(z * sum(math.log(max(c[o], 1.0)) for c in costs) / 3 for o, z in enumerate(shares))
    if form == "linear":
        return sum(z * 0.43 * (2 * costs[0][o] + costs[1][o] / 4000 + costs[2][o] / 100) for o, z in enumerate(shares))
    return sum(math.log(max(sum(z * c[o] for o, z in enumerate(shares)), 1.0)) for c in costs) / 3


def slow(form, shares, tables, ratio):
    """Shares for each cell of the network."""
    total = 0.0
    for kind in ("normal", "reduce"):
        places = [number for number, position in enumerate(LARGE.layout) if position.cell == kind]
        for place in places:
            for edge in range(5):
                costs = [tables[measure].costs[place][edge].tolist() for measure in MEASURES]
                value = edge_cost(form, shares[place][edge].tolist(), costs) / len(places)
                total += ratio * value if kind == "reduce" else value
    return total


@pytest.mark.parametrize("form", ["log", "log_of_edge", "linear"])
@pytest.mark.parametrize("per_cell", [False, True])
def test_the_cost_of_the_sample_is_that_of_the_slow_sum(form, per_cell, tables):
    architecture = made(GumbelSoftmax(Constant(0.7), per_cell=per_cell))
    with architecture.drawing("both"):
        shares = [cell.weights.detach() for cell in architecture()]
        found = ResourceCost(form=form, ratio=0.3).value(view(architecture, tables))
    assert len({tuple(each.flatten().tolist()) for each in shares}) == (5 if per_cell else 2)
    assert float(found.detach()) == pytest.approx(slow(form, shares, tables, 0.3), rel=1e-10)


@pytest.mark.parametrize("form", ["log", "log_of_edge", "linear"])
@pytest.mark.parametrize("relaxation", [Softmax(), Sigmoid(), Entmax(2.0), GumbelSoftmax(Constant(1.0), hard=True)])
def test_the_expected_cost_goes_with_every_relaxation(form, relaxation, tables):
    architecture = made(relaxation)
    part = ResourceCost(form=form, estimator="expected")
    part.check(architecture)
    found = part.value(view(architecture, tables))
    expected = architecture.probabilities()
    shares = [expected[position.cell] for position in LARGE.layout]
    assert float(found.detach()) == pytest.approx(slow(form, shares, tables, 1.0), rel=1e-9)
    assert all(each.isfinite().all() for each in torch.autograd.grad(found, list(architecture.parameters())))


def test_without_chance_the_sample_is_what_is_expected(tables):
    seen = view(made(Softmax()), tables)
    assert ResourceCost().value(seen) == ResourceCost(estimator="expected").value(seen)


@pytest.mark.parametrize("form", ["log", "linear"])
def test_the_gradient_raises_what_is_cheaper_than_the_sample(form, tables):
    """dR / dlog alpha_k = Z_k (c_k - sum of Z c) / t, and one-hot on the cheapest candidate is the least."""
    architecture, part = made(GumbelSoftmax(Constant(0.7))), ResourceCost(form=form)
    with architecture.drawing("both"):
        seen = view(architecture, tables)
        gradient = dict(zip(architecture.logits, torch.autograd.grad(part.value(seen), list(architecture.parameters())),
                            strict=True))  # fmt: skip
        samples = dict(zip((position.cell for position in LARGE.layout), architecture(), strict=True))
    for name, found in gradient.items():
        z = samples[name].weights.detach()
        cost = part._candidates([tables[measure].stacked[name] for measure in MEASURES]).mean(0)
        mean = (z * cost).sum(-1, keepdim=True)
        torch.testing.assert_close(found, z * (cost - mean) / 0.7, rtol=1e-9, atol=1e-9)
        assert ((found > 0) == (cost > mean)).all()
    values = []
    for column in range(8):
        hot = {name: torch.nn.functional.one_hot(torch.full((5,), column), 8).double() for name in LARGE.cells}
        seen = replace(view(architecture, tables), probabilities=hot)
        values.append(float(ResourceCost(form=form, estimator="expected").value(seen)))
    assert values[0] == min(values) == 0  # `none`
    assert sorted(values)[1] > 0
    assert values[5] == max(values)  # two separable convolutions 5x5


def test_once_one_hot_both_logarithms_agree(tables):
    hot = {name: torch.eye(8, dtype=torch.float64)[[1, 4, 0, 7, 3]] for name in LARGE.cells}
    seen = replace(view(made(Softmax()), tables), probabilities=hot)
    values = [float(ResourceCost(form=f, estimator="expected").value(seen)) for f in ("log", "log_of_edge")]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


@pytest.mark.parametrize("form", ["log", "log_of_edge", "linear"])
@pytest.mark.parametrize("baseline", [True, False])
def test_the_score_is_the_density_times_the_cost(form, baseline, tables):
    architecture = made(GumbelSoftmax(Constant(0.7)))
    part, logits = ResourceCost(form=form, estimator="score", baseline=baseline), list(architecture.parameters())
    part.check(architecture)
    with architecture.drawing("both"):
        seen = view(architecture, tables)
        value = part.value(seen)
        assert value == ResourceCost(form=form).value(seen)
        found = torch.autograd.grad(value, logits)
        surrogate, densities = 0.0, architecture.log_densities()
        for place, (position, cell) in enumerate(zip(LARGE.layout, architecture(), strict=True)):
            count = sum(other.cell == position.cell for other in LARGE.layout)
            costs = [tables[measure].costs[place] for measure in MEASURES]
            means = [float(cost.mean()) for cost in costs]
            for edge in range(5):
                rows = [cost[edge].tolist() for cost in costs]
                reward = edge_cost(form, cell.weights[edge].tolist(), rows)
                if baseline and form == "log_of_edge":
                    reward -= sum(math.log(max(mean, 1.0)) for mean in means) / 3
                elif baseline:
                    each = [
                        edge_cost(form, [1.0], [[float(c[e, o])] for c in costs]) for e in range(5) for o in range(8)
                    ]
                    reward -= sum(each) / 40
                surrogate = surrogate + densities[place][edge] * reward / count
        expected = torch.autograd.grad(surrogate, logits)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_the_score_has_the_mean_of_the_pathwise_gradient(tables):
    architecture = made(GumbelSoftmax(Constant(1.0)))
    architecture.clock.start(20_000, 1)
    logits, sums = list(architecture.parameters()), {}
    count = 4000
    for step in range(count):
        architecture.clock.set(step, 0.0)
        with architecture.drawing("both"):
            seen = view(architecture, tables)
            for estimator in ("sample", "score"):
                value = ResourceCost(estimator=estimator).value(seen)
                found = torch.cat([each.flatten() for each in torch.autograd.grad(value, logits, retain_graph=True)])
                first, second = sums.get(estimator, (0.0, 0.0))
                sums[estimator] = first + found, second + found**2
    means = {name: first / count for name, (first, _) in sums.items()}
    errors = {name: ((second / count - means[name] ** 2) / count).sqrt() for name, (_, second) in sums.items()}
    distance = (means["sample"] - means["score"]).abs() / (errors["sample"] ** 2 + errors["score"] ** 2).sqrt()
    assert float(distance.max()) < 4.5
    assert float(distance.square().mean()) < 1.5
    assert float(means["sample"].abs().max()) > 10 * float(errors["sample"].max())


@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201])
def test_a_search_becomes_cheaper(space):
    """The term alone moves both cell types towards candidates that cost less."""
    module = SNAS(INPUTS, space, optim=SearchOptim(level="single", arch=partial(torch.optim.SGD, lr=0.05),
                                                   regularizers=(ResourceCost(Constant(1.0), "linear"),)))  # fmt: skip
    expected = ResourceCost(form="linear", estimator="expected")
    before = float(expected.value(module.regularisation._view()).detach())
    fit(module, None, steps=3)
    assert float(expected.value(module.regularisation._view()).detach()) < before


def test_the_sample_is_that_of_the_loss(monkeypatch):
    """At each level the term sees the draw of the forward pass."""
    seen, passes = [], []
    value = ResourceCost.value

    def watch(network, given):
        if network.training:  # a copy of it is counted
            passes.append(given[1][0].weights.detach())

    def watched(self, given):
        seen.append(given.mixture()[0].weights.detach().clone())
        return value(self, given)

    for level in ("single", "alternating", "bilevel"):
        optim = SearchOptim(level=level, regularizers=(ResourceCost(),))
        module = SNAS(INPUTS, SPACE, optim=optim)
        module.network.register_forward_pre_hook(watch)
        with monkeypatch.context() as patched:
            patched.setattr(ResourceCost, "value", watched)
            fit(module, None, steps=2)
        of_architecture = passes if level == "single" else passes[::2]
        assert len(seen) == 3  # that of the preparation is of no step
        for one, other in zip(seen[1:], of_architecture, strict=True):
            assert torch.equal(one, other), level
        seen.clear()
        passes.clear()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResourceCost(form="root"), r"ResourceCost\.form must be one of log, log_of_edge, linear, not 'root'"),
        (lambda: ResourceCost(estimator="best"), r"ResourceCost\.estimator must be one of sample, expected, score"),
        (
            lambda: ResourceCost(measures=["latency"]),
            r"ResourceCost\.measures must be some of parameters, multiply_adds",
        ),
        (lambda: ResourceCost(measures=[]), r"ResourceCost\.measures must be some of"),
        (lambda: ResourceCost(ratio=math.nan), r"ResourceCost\.ratio must be a finite number"),
        (
            lambda: fit(HardGumbel(INPUTS, SPACE, optim=SearchOptim(regularizers=(ResourceCost(),))), None),
            "draws of GumbelSoftmax leave out candidates, whose weights say nothing of their cost",
        ),
        (
            lambda: fit(DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=(ResourceCost(estimator="score"),))), None),
            "needs the density of a sample of GumbelSoftmax, but the relaxation is Softmax",
        ),
        (
            lambda: Architecture(SPACE, Softmax()).log_densities(),
            "Softmax draws nothing, so that nothing has a density",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_measures_are_counted_as_in_the_code_of_the_authors():
    """Of an edge of stride 1 and one of stride 2, by the formulas of `operations.py`."""
    space, spec = DartsSpace(init_channels=4, num_cells=3, nodes=1), ImageSpec(height=16, width=16)
    network = build_search_network(space, spec, Reference())
    tables = {measure: candidate_costs(network, space, spec, measure) for measure in MEASURES}
    # position 0 is normal (16x16 pixels, 4 channels), position 1 reduces to 8x8 pixels and 8 channels
    for place, stride, y, c in ((0, 1, 16, 4), (1, 2, 8, 8)):
        area = y * y
        sep = {k: 2 * c * k * k + 2 * c * c for k in (3, 5)}
        dil = {k: c * k * k + c * c for k in (3, 5)}
        pool = (0, 9 * area * c, (2 if stride == 1 else 5) * area * c)
        skip = (0, 0, 2 * area * c) if stride == 1 else (c * c, c * c * area, 2 * area * (4 * c + c // 2) + c * c)
        expected = {
            "none": (0, 0, 0),
            "max_pool_3x3": pool,
            "avg_pool_3x3": pool,
            "skip_connect": skip,
            **{f"sep_conv_{k}x{k}": (s, s * area, area * ((8 if stride == 1 else 11) * c) + s) for k, s in sep.items()},
            **{f"dil_conv_{k}x{k}": (s, s * area, area * ((4 if stride == 1 else 7) * c) + s) for k, s in dil.items()},
        }
        for column, name in enumerate(space.operations):
            found = tuple(float(tables[measure].costs[place][0, column]) for measure in MEASURES)
            assert found == expected[name], (name, stride)


def double(make):
    module = make().double()
    module.loss = partial(double_loss, module)
    return module


def test_without_strength_nothing_changes():
    plain = double(lambda: SNAS(INPUTS, SPACE, optim=SearchOptim(level="single")))
    other = double(
        lambda: SNAS(INPUTS, SPACE, optim=SearchOptim(level="single", regularizers=(ResourceCost(Constant(0.0)),)))
    )
    other.load_state_dict(plain.state_dict())
    for module in (plain, other):
        fit(module, None, steps=2)
    for key, value in plain.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
