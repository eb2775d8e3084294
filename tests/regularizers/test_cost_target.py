"""Targets of costs: the penalty by hand, its gradient, and searches that come to their target."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from lit_nas.architecture import Architecture
from lit_nas.data import DigitsDataModule
from lit_nas.derivation import ArgmaxPerEdge, LimitedSkips, TopEdges, default_deriver
from lit_nas.methods import DARTS, GDAS, ProxylessNAS
from lit_nas.networks import CIFARNetwork, NasBench201CIFARNetwork
from lit_nas.networks.complexity import count_weights
from lit_nas.networks.derived_costs import derived_costs
from lit_nas.regularizers import CostTarget
from lit_nas.relaxations import Softmax
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from lit_nas.search.landing import land
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.search.test_search_module import fit
from tests.support.tiny import INPUTS, PROXYLESS, SPACE, TINY

SPEC, NETWORK = ImageSpec(1, 8, 8, 10), CIFARNetwork(16, 4)
DIGITS = DartsSpace(init_channels=4, num_cells=3)


def target(value=5000.0, **arguments):
    return CostTarget(**{"target": value, "network": CIFARNetwork(4, 3), **arguments})


def view(module):
    return module.regularisation._view()


@pytest.mark.parametrize(
    ("ratio", "arguments", "added"),
    [
        (2.0, {"form": "log", "tolerance": 0.1}, math.log(2) - 0.1),
        (0.5, {"form": "log", "tolerance": 0.1}, math.log(2) - 0.1),
        (1.05, {"form": "log", "tolerance": 0.1}, 0.0),
        (1.5, {"form": "linear", "tolerance": 0.0}, 0.5),
        (0.25, {"form": "linear", "tolerance": 0.05}, 0.7),
        (0.25, {"sides": "upper"}, 0.0),
        (2.0, {"sides": "lower"}, 0.0),
        (0.5, {"sides": "lower", "tolerance": 0.0}, math.log(2)),
    ],
)
def test_what_is_added_to_the_loss(ratio, arguments, added):
    part = target(**arguments)
    value = torch.tensor(math.log(ratio), dtype=torch.float64)
    assert float(part(torch.tensor(1.5, dtype=torch.float64), value, 3.0)) == pytest.approx(1.5 + 3 * added, abs=1e-12)
    assert not part.takes_loss


@pytest.mark.parametrize(
    ("ratio", "sides", "factor"),
    [
        (2.0, "both", 2**0.07),
        (0.5, "both", 0.5**0.07),
        (0.5, "upper", 1.0),
        (2.0, "lower", 1.0),
        (0.5, "lower", 2**0.07),
    ],
)
def test_a_factor_of_the_loss(ratio, sides, factor):
    """Equations 2 and 3 of MnasNet for a loss, which a high cost makes larger."""
    part = target(form="factor", sides=sides)
    assert part.takes_loss
    value = torch.tensor(math.log(ratio), dtype=torch.float64)
    assert float(part(torch.tensor(3.0), value, 0.07)) == pytest.approx(3 * factor)


def test_the_derived_cost_is_that_of_the_network_and_its_gradient_that_of_the_expectation():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=(target(),))).double()
    for logits in module.architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(1))
    (part,) = module.optim.regularizers
    cost = part.cost(view(module))
    genotype = TopEdges()(SPACE, module.architecture.importance())
    assert float(cost.detach()) == count_weights(CIFARNetwork(4, 3).build(genotype, INPUTS))
    names = list(module.architecture.logits)
    found = dict(zip(names, torch.autograd.grad(cost, list(module.architecture.logits.values())), strict=True))
    table = derived_costs(SPACE, INPUTS, CIFARNetwork(4, 3), "parameters")
    for name in names:  # of sum_e k / inbound_e sum_o c_o p_o / (1 - p_none) times the share of the edge, which is 1
        logits = module.architecture.logits[name].detach().clone().requires_grad_()
        p = logits.softmax(-1)
        total = 0.0
        for edge, (_, node) in enumerate(SPACE.cells[name].edges):
            row = p[edge, 1:] / (1 - p[edge, 0])
            total = total + min(1.0, 2 / node) * (row * table.by_type[name][edge, 1:]).sum()  # node 2 has 2 edges
        (expected,) = torch.autograd.grad(total, logits)
        torch.testing.assert_close(found[name], expected)


def test_the_expected_cost_of_the_search_network_is_that_of_expected_cost():
    module = DARTS(INPUTS, SPACE).double()
    part = target(of="expected", network="search")
    table = view(module).costs("parameters")
    shares = module.architecture.probabilities()
    expected = table.fixed + sum(float((shares[name] * cost).sum()) for name, cost in table.by_type.items())
    assert float(part.value(view(module)).detach()) == pytest.approx(math.log(expected / 5000), rel=1e-9)


def test_the_sample_of_a_step_costs_what_it_mixes():
    module = TINY["SNAS"]().double()
    part = target(of="sample", network="search")
    with module.architecture.drawing("both"):
        costs, mixture = view(module).network_costs("parameters", part.costed), module.architecture()
        cells = zip(SPACE.layout, mixture, strict=True)
        each = {position.cell: cell.weights for position, cell in cells}
        expected = costs.fixed + sum(float((each[name].detach() * costs.by_type[name]).sum()) for name in each)
        found = float(part.cost(view(module)).detach())
    assert found == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="is sample, but the draws of GumbelSoftmax leave out candidates"):
        part.check(TINY["GDAS"]().architecture)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 0.0}, "CostTarget.target must be a positive number"),
        ({"tolerance": -0.1}, "CostTarget.tolerance must be a number from 0 on"),
        ({"correction": 0.0}, "CostTarget.correction must be a positive number or null"),
        ({"of": "mean"}, "CostTarget.of must be one of derived, expected, sample"),
        ({"form": "square"}, "CostTarget.form must be one of log, linear, factor"),
        ({"sides": "left"}, "CostTarget.sides must be one of both, upper, lower"),
        ({"measure": "weights"}, "CostTarget.measure must be one of parameters"),
        ({"network": "search", "num_cells": 3}, "CostTarget.network is search, whose numbers"),
    ],
)
def test_values_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        target(**arguments)


@pytest.mark.parametrize("wanted", [55000.0, 70000.0, 90000.0, 140000.0, 200000.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_parameters_alone_come_to_the_target(wanted, seed):
    """Noise in the place of a loss: the derived network lands, corrected, and comes near by the penalty alone."""
    torch.manual_seed(seed)
    architecture, part = Architecture(DIGITS, Softmax()), CostTarget(target=wanted, network=NETWORK)
    costs, rule = COSTS(), default_deriver(DIGITS)
    optimizer = torch.optim.Adam(architecture.parameters(), lr=3e-4, betas=(0.5, 0.999))
    ratios = []
    for _ in range(40):
        derived = rule(DIGITS, architecture.importance())
        seen = SimpleNamespace(
            space=DIGITS, edges={}, kept_edges=2, excluded=("none",), derived=lambda derived=derived: derived,
            shares=architecture.expected().__getitem__, network_costs=lambda *_: costs,
        )  # fmt: skip
        loss = sum(0.01 * (torch.randn_like(logits) * logits).sum() for logits in architecture.parameters())
        optimizer.zero_grad()
        part(loss, part.value(seen), 10.0).backward()
        optimizer.step()
        ratios.append(costs.of(derived) / wanted)
    assert sum(abs(ratio - 1) < 0.25 for ratio in ratios[20:]) > 15  # it stays about the target
    found = land(DIGITS, rule, architecture.importance(), masks(architecture), [(part, costs)])
    assert costs.of(found) == pytest.approx(wanted, rel=0.1)


def COSTS():
    if not CACHE:
        CACHE.append(derived_costs(DIGITS, SPEC, NETWORK, "parameters"))
    return CACHE[0]


CACHE = []


def masks(architecture):
    return {name: architecture.mask(name) for name in architecture.cells}


@pytest.mark.parametrize("rule", [TopEdges(), ArgmaxPerEdge(("none",)), LimitedSkips(1)])
def test_a_correction_obeys_the_rule_and_changes_little(rule):
    architecture, costs = Architecture(DIGITS, Softmax()), COSTS()
    for logits in architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(3))
    start = rule(DIGITS, architecture.importance(), masks(architecture))
    wanted = 0.85 * costs.of(start)
    part = CostTarget(target=wanted, network=NETWORK)
    before = {name: table.clone() for name, table in architecture.importance().items()}
    compared = architecture.importance()
    found = land(DIGITS, rule, compared, masks(architecture), [(part, costs)])
    assert all(torch.equal(compared[name], table) for name, table in before.items())
    assert costs.of(found) == pytest.approx(wanted, rel=0.06)
    changed = [pair for name in start.cells for pair in set(start.cells[name].edges) ^ set(found.cells[name].edges)]
    assert 0 < len(changed) // 2 <= 8
    if isinstance(rule, LimitedSkips):
        assert all(sum(edge.operation == "skip_connect" for edge in c.edges) <= 1 for c in found.cells.values())
    near = CostTarget(target=costs.of(start) * 1.03, network=NETWORK)
    assert land(DIGITS, rule, before, masks(architecture), [(near, costs)]) == start
    above = CostTarget(target=wanted, network=NETWORK, sides="lower")
    assert land(DIGITS, rule, before, masks(architecture), [(above, costs)]) == start


def test_a_target_out_of_reach_is_come_near():
    architecture, costs = Architecture(DIGITS, Softmax()), COSTS()
    part = CostTarget(target=1000.0, network=NETWORK)
    found = land(DIGITS, TopEdges(), architecture.importance(), masks(architecture), [(part, costs)])
    assert costs.of(found) == costs.fixed  # no choice has a weight


@pytest.mark.parametrize("name", ["DARTS-second-order-exact", "EntmaxDARTS", "GDAS", "PARSEC", "MergeNAS", "DropNAS"])
def test_every_method_takes_it(name):
    """Of the derived network, which has a cost where candidates are merged, too."""
    module = TINY[name]()
    module.optim = SearchOptim(
        level=module.optim.level, regularizers=(target(6000.0, correction=0.1, strength=Constant(30.0)),)
    )
    before = [logits.detach().clone() for logits in module.architecture.parameters()]
    fit(module, steps=2)
    assert any(not torch.equal(*pair) for pair in zip(before, module.architecture.parameters(), strict=True))
    genotype = module.derive()
    assert genotype.space == "darts"


METHODS = {
    "DARTS": (lambda spec, optim: DARTS(spec, DIGITS, optim=optim()), NETWORK, 70000.0),
    "GDAS": (
        lambda spec, optim: GDAS(spec, NasBench201Space(init_channels=4, cells_per_stage=1), optim=optim()),
        NasBench201CIFARNetwork(16, 6), 300000.0,
    ),
    "ProxylessNAS": (
        lambda spec, optim: ProxylessNAS(
            spec, DIGITS, arch_every=1,
            optim=optim(**{key: getattr(PROXYLESS, key) for key in ("arch", "schedule", "schedule_every", "clip")}),
        ), NETWORK, 100000.0,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_a_search_over_digits_lands(name, tmp_path):
    """The genotype that is found, built for real, has within a tenth as many weights as asked for."""
    make, network, wanted = METHODS[name]
    seed_everything(0)
    data = DigitsDataModule(split="half", batch_size=64)
    module = make(data.spec, partial(SearchOptim, regularizers=(CostTarget(target=wanted, network=network),)))
    trainer = Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, data)
    assert count_weights(network.build(module.derive(), data.spec)) == pytest.approx(wanted, rel=0.1)
