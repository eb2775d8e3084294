"""SNAS: the samples, the density, the simultaneous step and the resource constraint of the paper, and its numbers."""

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from lit_nas import load_genotype
from lit_nas.clock import Moment
from lit_nas.derivation import ArgmaxPerEdge
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS, SNAS
from lit_nas.networks import count_weights
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.regularizers import ResourceCost
from lit_nas.relaxations import Draw, GumbelSoftmax, Occasion
from lit_nas.relaxations.draw import generator_of
from lit_nas.relaxations.gumbel_softmax import log_density_of_concrete
from lit_nas.schedules import Constant, Linear
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from tests.methods.test_contract import fit, snapshot
from tests.search.test_search_module import double_loss
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair

NUMBERS = {  # section 3 of the paper and the script of the authors
    **DARTS_SEARCH,
    "trainer.max_epochs": 150,
    "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "all"}),
    "model.relaxation": ("GumbelSoftmax", {"hard": False, "initial_mean": 1.0, "initial_deviation": 0.01}),
    "model.relaxation.temperature": ("Linear", {"start": 1.0, "end": 0.03, "every": "epoch", "inclusive": False}),
    "model.drop_path": ("Linear", {"start": 0.0, "end": 0.3, "every": "epoch", "inclusive": False}),
    "model.optim.level": "single",
    "model.optim.arch_clip": 10.0,
    "model.optim.regularizers": [
        {
            "class_path": "lit_nas.ResourceCost",
            "init_args": {
                "strength": {"class_path": "lit_nas.Constant", "init_args": {"value": 0.01}},
                "form": "log",
                "estimator": "sample",
                "ratio": 1.0,
                "measures": ["parameters", "operations", "memory_access"],
                "baseline": True,
            },
        }
    ],
    "model.deriver": ("ArgmaxPerEdge", {"exclude": [], "keeps_empty_nodes": True}),
}
EXPECTED = {
    "search/snas.yaml": NUMBERS,
    "search/snas.yaml + layers/space/nas_bench_201.yaml": {
        **NUMBERS,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}
NOW = Moment(0.0, 0.0)


def numbers(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(relaxation, logits, *parts):
    mask = torch.ones_like(logits, dtype=torch.bool)
    return relaxation.draw(logits.detach(), mask, NOW, Occasion((), "both", generator_of(0, *parts))), mask


# -- samples


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_samples_lie_on_the_simplex_and_their_largest_entries_follow_the_prior(temperature):
    row, many = numbers(0, 8), 20_000
    relaxation = GumbelSoftmax(Constant(temperature))
    draw, mask = drawn(relaxation, row.expand(many, 8))
    sample = relaxation.weights(row.expand(many, 8), mask, NOW, draw)
    torch.testing.assert_close(sample.sum(-1), torch.ones(many, dtype=torch.float64))
    counts = F.one_hot(sample.argmax(-1), 8).sum(0).double()
    expected = row.softmax(0) * many
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # chi-square, 7 degrees of freedom, p = 0.001
    if temperature == 0.01:
        assert sample.amax(-1).mean() > 0.99


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_gradient_is_pathwise(temperature):
    """1 / t sum over l of dL/dZ_l Z_l (delta - Z_k); a constant that is added to a row changes nothing."""
    logits, outer = numbers(1, 5, 8).requires_grad_(), numbers(2, 5, 8)
    relaxation = GumbelSoftmax(Constant(temperature))
    draw, mask = drawn(relaxation, logits)
    sample = relaxation.weights(logits, mask, NOW, draw)
    (found,) = torch.autograd.grad((outer * sample).sum(), logits)
    z = sample.detach()
    slow = torch.zeros_like(z)
    for edge in range(5):
        for k in range(8):
            for other in range(8):
                slow[edge, k] += outer[edge, other] * z[edge, other] * (float(k == other) - z[edge, k]) / temperature
    torch.testing.assert_close(found, slow, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(relaxation.weights(logits + 3.0, mask, NOW, draw), sample)


def test_start_values():
    module = SNAS(INPUTS, DartsSpace(init_channels=2, num_cells=3))
    every = torch.cat([logits.detach().flatten() for logits in module.architecture.logits.values()])
    assert every.shape == (2 * 14 * 8,)
    assert abs(float(every.mean()) - 1) < 0.005
    assert 0.008 < float(every.std()) < 0.012
    with pytest.raises(ValueError, match=r"initial_mean must be a finite number and initial_deviation one that is not"):
        GumbelSoftmax(Constant(1.0), initial_deviation=-1.0)


@pytest.mark.parametrize(("epoch", "temperature"), [(0, 1.0), (75, 0.515), (149, 0.03647)])
def test_the_temperature_falls_to_the_end_of_the_run(epoch, temperature):
    schedule = SNAS(INPUTS, SPACE).architecture.relaxation.temperature
    assert schedule(Moment(7.0, epoch + 0.5, 150.0, 150.0)) == pytest.approx(temperature, abs=5e-6)
    assert schedule(Moment(7.0, epoch / 150 * 9, 9.0, 9.0)) > 0.03  # whatever the length of the run


# -- density


def density(sample, alpha, temperature):
    sample, alpha = (torch.tensor(each, dtype=torch.float64) for each in (sample, alpha))
    mask = torch.ones_like(sample, dtype=torch.bool)
    return log_density_of_concrete(alpha.log(), sample.log(), temperature, mask)


def test_the_density_of_two_equal_classes_is_one():
    for share in (0.5, 0.1, 0.999):
        assert float(density([[share, 1 - share]], [[1.0, 1.0]], 1.0)) == pytest.approx(0, abs=1e-12)


def test_the_density_integrates_to_one_and_does_not_see_the_scale():
    u = torch.linspace(-60, 60, 20_001, dtype=torch.float64)  # as z = sigmoid(u), because the density has poles
    sample = torch.stack([u.sigmoid(), (-u).sigmoid()], -1)
    mask = torch.ones_like(sample, dtype=torch.bool)
    alpha = torch.tensor([0.3, 1.7], dtype=torch.float64)
    log = log_density_of_concrete(alpha.log().expand_as(sample), sample.log(), 0.5, mask)
    assert float((log.exp() * sample.prod(-1)).sum() * (u[1] - u[0])) == pytest.approx(1, abs=1e-9)
    scaled = log_density_of_concrete((5 * alpha).log().expand_as(sample), sample.log(), 0.5, mask)
    torch.testing.assert_close(scaled, log)


def test_the_density_is_the_formula_of_the_paper():
    logits, temperature = numbers(3, 5, 8), 0.4
    relaxation = GumbelSoftmax(Constant(temperature))
    draw, mask = drawn(relaxation, logits)
    z, alpha = relaxation.weights(logits, mask, NOW, draw), logits.exp()
    slow = math.log(5040) + 7 * math.log(temperature) + alpha.log().sum(-1) - (temperature + 1) * z.log().sum(-1)
    slow = slow - 8 * (alpha * z**-temperature).sum(-1).log()
    torch.testing.assert_close(relaxation.log_density(logits, mask, NOW, draw), slow, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_the_density_leads_to_the_logits_alone_and_ignores_what_is_pruned():
    logits = numbers(4, 3, 8).requires_grad_()
    relaxation, mask = GumbelSoftmax(Constant(0.3)), torch.ones(3, 8, dtype=torch.bool)
    mask[0, 5:], mask[2] = False, False
    draw = relaxation.draw(logits.detach(), mask, NOW, Occasion((), "both", generator_of(1)))
    value = relaxation.log_density(logits, mask, NOW, draw)
    (found,) = torch.autograd.grad(value.sum(), logits)
    sample = ((logits.detach() + draw.numbers[0]) / 0.3).masked_fill(~mask, -math.inf).log_softmax(-1)
    for edge, n in ((0, 5), (1, 8)):
        alive = mask[edge]
        shares = (logits.detach()[edge, alive] - 0.3 * sample[edge, alive]).softmax(-1)
        torch.testing.assert_close(found[edge, alive], 1 - n * shares, rtol=1e-9, atol=1e-9)
        assert not found[edge, ~alive].any()
    assert value[2] == 0
    assert not found[2].any()


def test_a_hard_sample_has_the_probability_of_its_candidate():
    logits = numbers(5, 6, 8)
    relaxation = GumbelSoftmax(Constant(0.3), hard=True)
    draw, mask = drawn(relaxation, logits)
    columns = torch.tensor(draw.active)
    expected = logits.log_softmax(-1).gather(-1, columns)[:, 0]
    torch.testing.assert_close(relaxation.log_density(logits, mask, NOW, draw), expected)


# -- the step


def double(make, **optim):
    module = make().double()
    module.optim = replace(module.optim, arch=partial(torch.optim.SGD, lr=1.0), **optim)
    module.loss = partial(double_loss, module)
    return module


def test_both_levels_step_from_the_same_point():
    module = double(lambda: SNAS(INPUTS, SPACE), arch_clip=0.0)
    weights, logits = list(module.network.parameters()), list(module.architecture.parameters())
    with module.architecture.drawing("both"):
        loss = copy.deepcopy(module).loss  # statistics of BatchNorm must not move
        twin = loss.args[0]
        with twin.architecture.drawing("both"):
            value = loss(pair(0))
            total = value + 1e-2 * ResourceCost().value(twin.regularisation._view())
            own = [*twin.network.parameters(), *twin.architecture.parameters()]
            gradient = torch.autograd.grad(total, own)
    norm = torch.stack([each.norm() for each in gradient[: len(weights)]]).norm()
    expected = [p - 0.025 * (g / max(1.0, float(norm) / 5.0) + 3e-4 * p)
                for p, g in zip([w.detach().clone() for w in weights], gradient, strict=False)]  # fmt: skip
    expected += [p.detach() - g for p, g in zip(logits, gradient[len(weights) :], strict=True)]
    fit(module, None, steps=1)
    for found, each in zip([*weights, *logits], expected, strict=True):
        torch.testing.assert_close(found.detach(), each, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("level", ["single", pytest.param("bilevel", marks=pytest.mark.slow)])
def test_without_noise_and_constraint_it_is_darts(level, monkeypatch):
    """With the logits divided by the temperature, step by step."""

    def noiseless(self, logits, mask, clock, occasion):
        return Draw(tuple(tuple(range(logits.shape[1])) for _ in logits), torch.zeros(1, *logits.shape))

    monkeypatch.setattr(GumbelSoftmax, "draw", noiseless)
    modules = []
    for make in (
        lambda: DARTS(INPUTS, SPACE, optim=SearchOptim(level=level)),
        lambda: SNAS(INPUTS, SPACE, GumbelSoftmax(Constant(0.5)), None, SearchOptim(level=level)),
    ):
        module = make().double()
        rate = 1e-2 if isinstance(module, DARTS) else 0.25 * 1e-2  # a step of the logits is a half, by half a gradient
        module.optim = replace(module.optim, arch=partial(torch.optim.SGD, lr=rate))
        module.loss = partial(double_loss, module)
        modules.append(module)
    darts, snas = modules
    snas.load_state_dict(darts.state_dict())
    for theirs, logits in zip(snas.architecture.parameters(), darts.architecture.parameters(), strict=True):
        theirs.data = 0.5 * logits.data
    for module in modules:
        fit(module, None, steps=2)
    for key, value in snapshot(darts).items():
        found = snapshot(snas)[key]
        found = 2 * found if "architecture.logits" in key else found
        torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-11, msg=key)


def test_the_architecture_is_clipped_apart_from_the_weights():
    module = double(lambda: SNAS(INPUTS, SPACE), arch_clip=1e-3)
    before = [p.detach().clone() for p in module.architecture.parameters()]
    fit(module, None, steps=1)
    moved = [p.detach() - b for p, b in zip(module.architecture.parameters(), before, strict=True)]
    assert float(torch.cat([each.flatten() for each in moved]).norm()) == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(ValueError, match=r"model\.optim\.arch_clip must not be negative, but is -1"):
        SearchOptim(arch_clip=-1.0)


@pytest.mark.parametrize("per_cell", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "engine",
    [Fused(), *(pytest.param(e, marks=pytest.mark.slow) for e in (Fused(checkpoint=True), Fused(batch_edges=False)))],
)
def test_engines_agree(engine, per_cell):
    relaxation = GumbelSoftmax(Linear(1.0, 0.03, "epoch"), per_cell=per_cell)
    module = SNAS(INPUTS, SPACE, relaxation, None, engine=Reference()).double()
    other = copy.deepcopy(module)
    for cell in other.network.cells:
        cell.engine = engine
    for each in (module, other):
        with each.architecture.drawing("both"):
            double_loss(each, pair(0)).backward()
    theirs = dict(other.named_parameters())
    for key, value in module.named_parameters():
        torch.testing.assert_close(theirs[key].grad, value.grad, rtol=1e-8, atol=1e-12, msg=key)


# -- derivation and published cells


def test_an_edge_whose_best_operation_is_none_disappears_and_the_others_stay():
    module = SNAS(INPUTS, DartsSpace(init_channels=2, num_cells=3))
    module.architecture.logits["normal"].data = logits = numbers(6, 14, 8).float()
    logits[:, 0] = -9.0
    logits[[3, 9, 10, 11, 12, 13], 0] = 9.0
    cell = module.derive().cells["normal"]
    edges = module.architecture.cells["normal"].edges
    kept = {edges[number] for number in range(14) if number not in (3, 9, 10, 11, 12, 13)}
    found = [edge for edge in cell.edges if edge.operation != "none"]
    assert {(edge.source, edge.target) for edge in found} == kept
    for edge in found:
        row = logits[edges.index((edge.source, edge.target))]
        assert edge.operation == module.architecture.cells["normal"].operations[int(row.argmax())]
    # the last node has lost all its edges, and stays as zeros
    assert [edge for edge in cell.edges if edge.target == 5] == [("none", 0, 5)]
    assert cell.concat == (2, 3, 4, 5)
    module.deriver = ArgmaxPerEdge()
    assert module.derive().cells["normal"].concat == (2, 3, 4)


def test_a_cell_that_loses_everything_has_no_genotype():
    module = SNAS(INPUTS, SPACE)
    module.architecture.logits["normal"].data[:, 0] = 9.0
    with pytest.raises(ValueError, match="Nothing is left of cell 'normal'"):
        module.derive()
    bench = SNAS(INPUTS, NAS_BENCH_201)
    bench.architecture.logits["normal"].data[:, 0] = 9.0
    assert bench.derive().architecture == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    ("name", "weights"), [("SNAS_MILD", 2_661_382), ("SNAS_MODERATE", 2_847_358), ("SNAS_AGGRESSIVE", 2_313_622)]
)
def test_published_cells_have_as_many_weights_as_in_the_paper(name, weights):
    assert count_weights(EvaluationNetwork(load_genotype(name), auxiliary=False)) == weights
