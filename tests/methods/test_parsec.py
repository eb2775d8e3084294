"""PARSEC: both gradients of the marginal likelihood, one child at a time, and the numbers of its configurations."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.callbacks import Prune
from lit_nas.clock import Moment
from lit_nas.engine import Fused, Reference
from lit_nas.held_memory import held_for_backward
from lit_nas.methods import DARTS, PARSEC
from lit_nas.networks import count_weights
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.optim import DartsAdam, frozen_statistics
from lit_nas.perturbation import RandomSmoothing
from lit_nas.pruning import Pruning
from lit_nas.regularizers import ExpectedCost, MaxNorm, ResourceCost
from lit_nas.relaxations import Categorical, CategoricalPairs, Occasion, Softmax
from lit_nas.relaxations.draw import generator_of
from lit_nas.schedules import Constant
from lit_nas.search import ImportanceSampling, SearchOptim
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace
from tests.methods.test_contract import fit, snapshot
from tests.search.test_search_module import FrozenNorms, double_loss
from tests.search.test_search_module import fit as fit_with
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair

ARCH = {"lr": 3e-3, "betas": [0.5, 0.999], "weight_decay": 0.0}
NUMBERS = {
    **DARTS_SEARCH,
    "trainer.max_epochs": 100,
    "model.space": (
        "DartsSpace", {"init_channels": 16, "num_cells": 8, "nodes": 4, "operations": list(DARTS_OPERATIONS[1:])},
    ),
    "model.prior": None,
    "model.sampling.samples": 16,
    "model.sampling.likelihood": "sum",
    "model.sampling.per_nat": None,
    "model.optim.arch": ("DartsAdam", ARCH),
}  # fmt: skip
EXPECTED = {
    "search/parsec.yaml": NUMBERS,
    "search/parsec.yaml + layers/space/nas_bench_201.yaml": {
        **NUMBERS,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}
ALL = ImportanceSampling(4, likelihood="mean", temperature=Constant(0.05), least=0.0)
"""Of a few children, each of which counts."""
SMALL = DartsSpace(init_channels=2, num_cells=3, nodes=2, operations=DARTS_OPERATIONS[1:])
ONE_NODE = DartsSpace(
    init_channels=2, num_cells=3, nodes=1, operations=("skip_connect", "sep_conv_3x3", "max_pool_3x3")
)


def double(space=SMALL, sampling=ALL, level="bilevel", prior=None, **optim):
    settings = SearchOptim(level=level, arch=partial(torch.optim.SGD, lr=1.0), clip=0.0, **optim)
    module = PARSEC(INPUTS, space, prior, sampling, settings).double()
    for logits in module.architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(1))
    module.loss = partial(double_loss, module)
    return module


def slow_step(module, level, batch, count):
    """Losses of all children with their graphs, and what each has drawn."""
    losses, draws = [], []
    for sample in range(count):
        with module.architecture.drawing(level, sample):
            losses.append(module.loss(batch))
            draws.append([density.sum() for density in module.architecture.log_densities()])
    return torch.stack(losses), draws


@pytest.mark.parametrize("space", [SMALL, NAS_BENCH_201])
def test_both_gradients_are_those_of_the_marginal_likelihood(space):
    """At a single level: the weights' through -logsumexp of all children at once, the prior's by its closed form."""
    module = double(space, level="single")
    twin = copy.deepcopy(module)
    twin.loss = partial(double_loss, twin)
    with frozen_statistics(twin.norms):
        losses, densities = slow_step(twin, "both", pair(0), 4)
    logarithms = -losses / 0.05
    shares = logarithms.detach().softmax(0)
    assert float(1 / shares.square().sum()) > 1.5
    weights = list(twin.network.parameters())
    gradient = torch.autograd.grad(-0.05 * logarithms.logsumexp(0), weights, allow_unused=True)
    types = list(twin.architecture.logits)
    first = [twin.network.types.index(name) if space is SMALL else 0 for name in types]
    surrogate = -sum(
        share * sum(child[place] for place in first) for share, child in zip(shares, densities, strict=True)
    )
    prior = torch.autograd.grad(surrogate, list(twin.architecture.parameters()))
    fit(module, None, steps=1)
    for found, before, g in zip(module.network.parameters(), weights, gradient, strict=True):
        expected = before if g is None else before - 0.025 * (g + 3e-4 * before)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    for found, before, g in zip(module.architecture.parameters(), twin.architecture.parameters(), prior, strict=True):
        torch.testing.assert_close(found, before - g, rtol=1e-9, atol=1e-11)
        assert g.any()


@pytest.mark.parametrize("level", ["bilevel", pytest.param("alternating", marks=pytest.mark.slow)])
def test_the_prior_is_updated_first_and_on_its_own_data(level):
    module = double(level=level)
    twin = copy.deepcopy(module)
    twin.loss = partial(double_loss, twin)
    with frozen_statistics(twin.norms):
        losses, densities = slow_step(twin, "arch", pair(1 if level == "bilevel" else 0), 4)
        shares = (-losses.detach() / 0.05).softmax(0)
        score = -sum(share * (child[0] + child[1]) for share, child in zip(shares, densities, strict=True))
        prior = torch.autograd.grad(score, list(twin.architecture.parameters()))
        for logits, g in zip(twin.architecture.parameters(), prior, strict=True):
            logits.data -= g
        losses, _ = slow_step(twin, "weights", pair(0), 4)  # of the new prior
        weights = list(twin.network.parameters())
        whole = -0.05 * (-losses / 0.05).logsumexp(0)
        gradient = torch.autograd.grad(whole, weights, allow_unused=True)
    fit(module, None, steps=1)
    for found, expected in zip(module.architecture.parameters(), twin.architecture.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    for found, before, g in zip(module.network.parameters(), weights, gradient, strict=True):
        expected = before if g is None else before - 0.025 * (g + 3e-4 * before)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert any(g is None for g in gradient)  # no child has these, and neither momentum nor decay moves them


def likelihood(table, module, batch):
    """A loss that depends on the children alone: the mean of what their candidates cost."""
    cell = module.architecture()[0]
    anchor = next(module.network.parameters()).sum()
    return (cell.weights.detach() * table).sum() + 0.0 * anchor


TABLE = torch.tensor([[0.0, 0.5, 1.0], [0.8, 0.2, 0.6]], dtype=torch.float64)


def test_with_many_samples_the_gradient_is_posterior_minus_prior():
    """Over the nine networks of two edges with three candidates each, whose likelihoods are known."""
    row, many = torch.tensor([[0.3, -0.2, 0.4], [0.0, 0.7, -0.5]], dtype=torch.float64), 50_000
    prior, now = row.softmax(-1), Moment(0.0, 0.0)
    logits, mask = row.repeat(many, 1), torch.ones(2 * many, 3, dtype=torch.bool)
    draw = Categorical().draw(logits, mask, now, Occasion((), "arch", generator_of(0)))
    children = draw.numbers.view(many, 2, 3)
    losses = (children * TABLE).sum((1, 2))
    shares = ImportanceSampling(likelihood="mean").shares(losses, 1, now)
    found = (shares.view(-1, 1, 1) * children).sum(0) - prior
    joint = {}
    for a in range(3):
        for b in range(3):
            joint[a, b] = float(prior[0, a] * prior[1, b]) * float(torch.exp(-(TABLE[0, a] + TABLE[1, b])))
    total = sum(joint.values())
    posterior = torch.zeros(2, 3, dtype=torch.float64)
    for (a, b), value in joint.items():
        posterior[0, a] += value / total
        posterior[1, b] += value / total
    torch.testing.assert_close(found, posterior - prior, rtol=0, atol=1e-2)  # four standard deviations
    assert float((posterior - prior).abs().max()) > 0.09
    even = children.mean(0) - prior  # shares that say nothing
    assert float(even.abs().max()) < 1e-2


def test_repeated_updates_find_the_most_likely_network():
    sampling = ImportanceSampling(8, likelihood="mean", temperature=Constant(0.2))
    optim = SearchOptim(arch=partial(DartsAdam, lr=0.2, weight_decay=0.0), level="single")
    module = PARSEC(INPUTS, ONE_NODE, None, sampling, optim)
    module.loss = partial(likelihood, TABLE, module)
    entropies = [module.architecture.entropy()["normal"]]
    for _ in range(3):
        fit(module, None, steps=8)
        entropies.append(module.architecture.entropy()["normal"])
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[-1] < 0.6 * entropies[0]
    best = module.architecture.importance()["normal"]
    assert (best[0, 0] > 0) == (best.sum() > 0)  # the cheapest candidate, by both slots
    assert ("skip_connect", 0, 2) in module.derive().cells["normal"].edges


def test_a_single_child_is_darts_step_by_step():
    """With one operation, and all inputs, nothing is left to choose."""
    space = replace(SPACE, operations=("sep_conv_3x3",))
    parsec = double(space, ImportanceSampling(1), prior=Categorical())
    darts = DARTS(INPUTS, space, optim=parsec.optim).double()
    darts.loss = partial(double_loss, darts)
    parsec.network.load_state_dict(darts.network.state_dict())
    for module in (darts, parsec):
        fit(module, None, steps=3)
    for key, value in darts.network.state_dict().items():
        torch.testing.assert_close(parsec.network.state_dict()[key], value, rtol=1e-12, atol=1e-14, msg=key)


def test_one_child_is_computed_at_a_time(tmp_path):
    """Eight candidates of a cell with four nodes at most, in each forward pass, and one graph after the other."""
    space = DartsSpace(init_channels=2, num_cells=3, operations=DARTS_OPERATIONS[1:])
    module = PARSEC(INPUTS, space, sampling=ImportanceSampling(5, least=0.0), engine=Reference())
    calls, passes = [], []
    for number, cell in enumerate(module.network.cells):
        for edge in cell.edges:
            for operation in edge.operations.values():
                operation.register_forward_hook(lambda *_, number=number: calls.append(number))
    module.network.register_forward_pre_hook(lambda *_: passes.append((len(calls), torch.is_grad_enabled())))
    fit(module, tmp_path, steps=1)
    counts = [end - start for (start, _), (end, _) in zip(passes, [*passes[1:], (len(calls), False)], strict=True)]
    assert len(counts) == 5 + 5 + 5  # the prior's, the weights', and their gradient
    assert [gradient for _, gradient in passes] == [False] * 10 + [True] * 5
    assert max(counts) <= 8 * 3
    assert min(counts) >= 4 * 3


def test_a_child_holds_the_memory_of_its_paths():
    images, labels = pair(0, 32)
    space = DartsSpace(init_channels=4, num_cells=3)
    module = PARSEC(INPUTS, replace(space, operations=DARTS_OPERATIONS[1:]))
    held = []
    for sample in range(3):
        with module.architecture.drawing("weights", sample):
            held.append(held_for_backward(lambda: module.loss((images, labels))))
    assert max(held) < 0.3 * held_for_backward(lambda: DARTS(INPUTS, space).loss((images, labels)))


@pytest.mark.parametrize(
    "engine",
    [Fused(), *(pytest.param(e, marks=pytest.mark.slow) for e in (Fused(checkpoint=True), Fused(batch_edges=False)))],
)
def test_engines_agree(engine):
    module = PARSEC(INPUTS, SMALL, engine=Reference()).double()
    other = copy.deepcopy(module)
    for cell in other.network.cells:
        cell.engine = engine
    kinds = set()
    for sample in range(20):
        for each in (module, other):
            each.zero_grad()
            with each.architecture.drawing("weights", sample):
                double_loss(each, pair(0)).backward()
                cells = each.architecture()
        kinds |= {int(cell.weights.max()) for cell in cells} | {
            -len(columns) for cell in cells for columns in cell.active
        }
        theirs = dict(other.named_parameters())
        for key, value in module.named_parameters():
            assert (value.grad is None) == (theirs[key].grad is None), key
            if value.grad is not None:
                torch.testing.assert_close(theirs[key].grad, value.grad, rtol=1e-7, atol=1e-11, msg=key)
    assert kinds == {1, 2, 0, -1, -2}  # a pair twice, an edge without an operation, with one and with two


def test_small_shares_are_not_computed(tmp_path):
    module = PARSEC(INPUTS, SMALL, sampling=ImportanceSampling(6, temperature=Constant(1e-3)))
    passes = []
    module.network.register_forward_pre_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    fit(module, tmp_path, steps=1)
    assert passes == [False] * 12 + [True]


def test_parts_of_a_batch_make_the_same_step():
    whole, cut = double(), double(accumulate=3)
    cut.load_state_dict(whole.state_dict())
    for module in (whole, cut):
        fit_with(module, steps=2, callbacks=[FrozenNorms()])  # statistics of a part are other ones
    for key, value in snapshot(whole).items():
        torch.testing.assert_close(snapshot(cut)[key], value, rtol=1e-6, atol=1e-8, msg=key)


@pytest.mark.parametrize("space", [SMALL, NAS_BENCH_201])
def test_costs_of_children_are_those_of_their_candidates(space):
    module = double(space)
    table = module.regularisation.table("parameters")
    found = module.samples.costs("arch", "parameters", 3)
    for sample in range(3):
        with module.architecture.drawing("arch", sample):
            cells = module.architecture()
        total = table.fixed
        for cell, cost in zip(cells, table.costs, strict=True):
            for edge, columns in enumerate(cell.active):
                total += sum(float(cell.weights[edge, o] * cost[edge, o]) for o in columns)
        assert float(found[sample]) == pytest.approx(total)


def test_an_expensive_child_counts_less(tmp_path):
    """With equal losses the share of a child is its cost to the power -beta, and the prior becomes cheaper."""
    sampling = ImportanceSampling(8, likelihood="mean", cost_power=Constant(4.0), cost="parameters")
    optim = SearchOptim(arch=partial(DartsAdam, lr=0.1, weight_decay=0.0), level="single")
    module = PARSEC(INPUTS, SMALL, sampling=sampling, optim=optim)
    module.loss = partial(likelihood, torch.zeros(5, 7), module)
    cost = ExpectedCost(measure="parameters", reference=100.0)
    before = float(cost.value(module.regularisation._view()).detach())
    fit(module, tmp_path, steps=6)
    assert float(cost.value(module.regularisation._view()).detach()) < before


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # weights take no step
@pytest.mark.parametrize("space", [SMALL, pytest.param(NAS_BENCH_201, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "part",
    [
        ResourceCost(estimator="expected"),
        pytest.param(ExpectedCost(), marks=pytest.mark.slow),
    ],
)
def test_a_resource_penalty_moves_the_prior(space, part, tmp_path):
    module = double(space, regularizers=(replace(part, strength=Constant(1.0)),))
    plain = double(space)
    plain.load_state_dict(module.state_dict())
    own = torch.autograd.grad(part.value(module.regularisation._view()), list(module.architecture.parameters()))
    for each in (plain, module):
        each.step_samples = lambda *arguments: None
        fit(each, tmp_path, steps=1)
    for found, without, g in zip(module.architecture.parameters(), plain.architecture.parameters(), own, strict=True):
        torch.testing.assert_close(found.detach(), without.detach() - g, rtol=1e-9, atol=1e-11)


def test_the_number_of_children_follows_the_entropy(tmp_path):
    module = PARSEC(INPUTS, SMALL, sampling=ImportanceSampling(per_nat=0.25))
    counts, means = [], module.samples.means
    module.samples.means = lambda *arguments: counts.append(arguments[-1]) or means(*arguments)
    for logits in module.architecture.parameters():
        logits.data.zero_()
    fit(module, tmp_path, steps=1)
    assert counts[0] == round(0.25 * sum(module.architecture.entropy().values())) == 6
    for logits in module.architecture.parameters():
        logits.data[:, [0, -1]] = 50.0
    fit(module, tmp_path, steps=1)
    assert counts[2] == 1


def test_it_is_validated_by_its_mode_and_derives_it():
    module = PARSEC(INPUTS, SMALL)
    for logits in module.architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(2))
    module.eval()
    cells, genotype = module.architecture(), module.derive()
    for name, mixed in zip(module.network.types, cells, strict=True):
        cell = SMALL.cells[name]
        executed = {(cell.operations[o], *cell.edges[e]) for e, columns in enumerate(mixed.active) for o in columns}
        assert executed == {tuple(edge) for edge in genotype.cells[name].edges}
        assert len(executed) == 4
        assert mixed.weights.sum() == 4
    assert count_weights(EvaluationNetwork(genotype, INPUTS, 4, 3, auxiliary=False)) > 0
    moved = PARSEC(INPUTS, replace(SMALL, num_cells=5))  # another depth has the same layout of decisions
    moved.architecture.load_state_dict(module.architecture.state_dict())
    assert moved.derive().cells == genotype.cells


def test_before_the_architecture_moves_children_are_those_of_the_uniform_prior(tmp_path):
    module = PARSEC(INPUTS, SMALL, sampling=ImportanceSampling(2), optim=SearchOptim(arch_from_epoch=1))
    before = snapshot(module)
    seen = []
    original = module.step_samples
    module.step_samples = lambda *arguments: (
        seen.append(
            {key for key, value in snapshot(module).items() if "logits" in key and not torch.equal(value, before[key])}
        )
        or original(*arguments)
    )
    fit(module, tmp_path, epochs=2, steps=2)
    assert seen[:2] == [set(), set()]
    assert seen[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PARSEC(INPUTS, SMALL, Softmax()),
            r"model\.prior must be Categorical, CategoricalPairs or null, not Sof",
        ),
        (
            lambda: PARSEC(INPUTS, SMALL, optim=SearchOptim(perturbation=RandomSmoothing())),
            "no mixing weights to disturb",
        ),
        (lambda: PARSEC(INPUTS, SMALL, optim=SearchOptim(graphs=True)), r"set model\.optim\.graphs to false"),
        (lambda: PARSEC(INPUTS, NAS_BENCH_201, CategoricalPairs()), "choose Categorical, which draws one operation"),
        (
            lambda: MaxNorm(Constant(1.0), temperature=2.0).check(Architecture(SMALL, CategoricalPairs())),
            "MaxNorm.temperature divides the parameters of candidates, which CategoricalPairs does not have",
        ),
        (
            lambda: fit(PARSEC(INPUTS, SMALL, optim=SearchOptim(regularizers=(ResourceCost(),))), None),
            "draws of CategoricalPairs leave out candidates",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_parameters_of_the_mode_have_no_gradient_of_the_loss():
    architecture = Architecture(SMALL, CategoricalPairs())
    assert not any(cell.weights.requires_grad for cell in architecture())


@pytest.mark.parametrize("guard", [False, True])
def test_what_is_pruned_is_drawn_no_more(guard, tmp_path):
    """With another callback, although the parameters are not those of candidates."""
    module = PARSEC(INPUTS, SMALL, sampling=ImportanceSampling(2))
    for logits in module.architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(3))
    table = module.architecture.probabilities()["normal"]
    prune = Prune(Pruning(threshold=float(table.median()), guard=guard))
    fit_with(module, steps=1, callbacks=[prune])
    mask = module.architecture.mask("normal")
    assert 0 < mask.sum() < mask.numel()
    for sample in range(20):
        with module.architecture.drawing("weights", sample):
            cell = module.architecture()[0]
        assert all(mask[edge, o] for edge, columns in enumerate(cell.active) for o in columns)
