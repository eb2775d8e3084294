"""StacNAS: one gradient for both levels, derivation by parameters, what copies do to each other, and its numbers."""

import json

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.cli import main
from lit_nas.derivation import ArgmaxPerEdge, TopEdges
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS, StacNAS
from lit_nas.networks import count_weights
from lit_nas.networks.paper_networks import CIFARNetwork, ImageNetNetwork
from lit_nas.operations import BatchNorm
from lit_nas.optim import CosinePowerLR
from lit_nas.relaxations import Softmax
from lit_nas.search import SearchOptim
from lit_nas.spaces import STACNAS_S1, DartsSpace
from tests.methods.test_contract import fit, snapshot
from tests.optim.test_learning_rates import optimizer, rates
from tests.support.paper_numbers import CIFAR_AUGMENTATION
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, TINY

KEYS = ["max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "none"]
EXPECTED = {
    "search/stacnas.yaml": {  # section 4.1 of the paper, and the authors' config.py
        "trainer.max_epochs": 80,
        "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "all"}),
        "data.augmentation": CIFAR_AUGMENTATION,
        "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 14, "nodes": 4, "operations": KEYS}),
        "model.optim.level": "single",
        "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}),
        "model.optim.schedule": ("SearchCosineLR", {"lr_min": 0.001}),
        "model.optim.arch": ("DartsAdam", {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
        "model.optim.clip": 3.0,
        "model.optim.arch_clip": 0.0,
        "model.optim.arch_from_epoch": 0,
        "model.deriver": None,  # see `test_the_defaults_are_those_of_the_paper`
    },
    "search/stacnas.yaml + layers/space/nas_bench_201.yaml": {
        "trainer.max_epochs": 80,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5}),
        "model.optim.level": "single",
        "model.deriver": None,
    },
    "retrain/stacnas.yaml": {
        "trainer.max_epochs": 600,
        "data": ("CIFAR10DataModule", {"batch_size": 96, "split": "all"}),
        "data.augmentation": {**CIFAR_AUGMENTATION, "cutout": 16},
        "model.network": ("CIFARNetwork", {"pool_norm": True}),
        "model.init_channels": 36,
        "model.num_cells": 20,
        "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4}),
        "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
        "model.optim.clip": 5.0,
        "model.optim.drop_path": 0.2,
        "model.optim.auxiliary_weight": 0.4,
    },
}


def test_the_defaults_are_those_of_the_paper():
    module = StacNAS()
    assert module.optim == SearchOptim(clip=3.0, level="single")
    assert list(module.architecture.space.operations) == KEYS
    assert module.deriver == TopEdges(2, by="logit")
    assert StacNAS(INPUTS, NAS_BENCH_201).deriver == ArgmaxPerEdge(("none",))
    assert {tuple(logits.shape) for logits in module.architecture.logits.values()} == {(14, 5)}


@pytest.mark.parametrize(
    ("space", "weights"),
    [
        (DartsSpace(16, 14, operations=tuple(KEYS)), 1_550_266),  # of the authors' code
        (DartsSpace(16, 8), 1_930_618),  # that of DARTS
    ],
)
def test_weights_of_the_search_network(space, weights):
    with torch.device("meta"):
        assert count_weights(StacNAS(space=space).network) == weights


def test_both_levels_step_from_the_same_point(tmp_path):
    """A quadratic loss in which each level's gradient depends on the other one, with plain descent on both."""
    rates = 0.1, 0.3
    optim = SearchOptim(
        lambda p: torch.optim.SGD(p, rates[0]), lambda p: torch.optim.SGD(p, rates[1]),
        lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0), clip=0.0, level="single",
    )  # fmt: skip
    module = StacNAS(INPUTS, SPACE).double()
    module.optim = optim
    weights, logits = module.network.classifier.bias, module.architecture.logits["normal"]
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(len(weights) + 4, len(weights) + 4, generator=generator, dtype=torch.float64)
    matrix, shift = mixed @ mixed.T / 8, torch.randn(len(mixed), generator=generator, dtype=torch.float64)

    def loss(batch, mixture=None):
        point = torch.cat([weights, logits[:4, 0]])
        return point @ matrix @ point / 2 - shift @ point

    point = torch.cat([weights, logits[:4, 0]]).detach().clone()
    rate = torch.tensor([rates[0]] * len(weights) + [rates[1]] * 4, dtype=torch.float64)
    module.loss = loss
    fit(module, tmp_path, steps=3)
    alternating = point.clone()
    for _ in range(3):
        point = point - rate * (matrix @ point - shift)
        for level in (slice(len(weights), None), slice(len(weights))):  # the architecture first, as DARTS has it
            alternating[level] -= (rate * (matrix @ alternating - shift))[level]
    found = torch.cat([weights, logits[:4, 0]]).detach()
    torch.testing.assert_close(found, point, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found, alternating, rtol=1e-3)


def test_at_two_levels_it_is_darts_step_by_step(tmp_path):
    ours, theirs = StacNAS(INPUTS, SPACE, optim=SearchOptim(), deriver=TopEdges()), DARTS(INPUTS, SPACE)
    theirs.load_state_dict(ours.state_dict())
    for module in (ours, theirs):
        fit(module, tmp_path / type(module).__name__, epochs=2, steps=2)
    found = snapshot(ours)
    assert all(torch.equal(found[name], value) for name, value in snapshot(theirs).items())
    assert ours.derive().cells == theirs.derive().cells


def test_an_edge_with_few_candidates_has_a_softmax_of_its_own():
    """Two edges with groups of two, one with a single operation: parameters of others have no part in it."""
    rows = [["sep_conv_3x3", "sep_conv_5x5", "none"], ["skip_connect", "skip_connect_2", "none"]]
    space = DartsSpace(
        2, 3, 2, (*STACNAS_S1.operations, "skip_connect_2", "none"),
        candidates={"normal": [*rows, ["max_pool_3x3", "none"], *rows]},
    )  # fmt: skip
    module = StacNAS(INPUTS, space)
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.normal_()
    probabilities, logits = module.architecture.probabilities()["normal"], module.architecture.logits["normal"]
    for edge, columns in enumerate(space.cells["normal"].allowed):
        own = logits[edge, list(columns)].softmax(-1)
        torch.testing.assert_close(probabilities[edge, list(columns)].float(), own.detach())
        assert probabilities[edge].count_nonzero() == len(columns)


def test_a_node_keeps_the_two_edges_with_the_largest_parameters_and_never_none():
    space = DartsSpace(2, 3, operations=tuple(KEYS))
    module, cell = StacNAS(INPUTS, space), space.cells["normal"]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.copy_(torch.randn(logits.shape, generator=generator))
            logits[:, -1] = 50.0
    table = module.architecture.logits["normal"].detach()
    for node in cell.targets:
        inbound = module.derive().cells["normal"].inbound(node)
        scores = {
            cell.edges[edge][0]: float(table[edge, :-1].max())
            for edge, ends in enumerate(cell.edges)
            if ends[1] == node
        }
        assert [edge.source for edge in inbound] == sorted(scores, key=scores.get, reverse=True)[:2]
        assert "none" not in {edge.operation for edge in inbound}


def test_none_changes_which_edges_are_kept_by_probabilities_alone():
    space = DartsSpace(2, 3, 2, operations=tuple(KEYS))
    tables = {}
    for name, cell in space.cells.items():
        tables[name] = torch.zeros(len(cell.edges), 5)
        tables[name][:, 0] = torch.tensor([1.0, 1.0, 3.0, 2.0, 1.0])
        tables[name][2, 4] = 6.0  # the strongest edge of the last node contributes little
    by_logit = TopEdges(by="logit")(space, tables).cells["normal"]
    by_probability = TopEdges()(space, {name: table.softmax(-1) for name, table in tables.items()}).cells["normal"]
    assert [edge.source for edge in by_logit.inbound(3)] == [0, 1]
    assert [edge.source for edge in by_probability.inbound(3)] == [1, 2]


def fitted(features, target):
    """Coefficients of a linear mixture by gradient descent on the squared error, all equal at the beginning."""
    weights = torch.full((len(features),), 0.1, dtype=torch.float64)
    matrix = torch.stack(features)
    for _ in range(2000):
        weights = weights - 0.2 * matrix @ (weights @ matrix - target) / matrix.shape[1]
    return weights


def test_a_copy_halves_what_an_operation_is_worth_unless_copies_are_added_up():
    """Section 3.2 of the paper: with a twin beside it the better operation loses."""
    generator = torch.Generator().manual_seed(0)
    skip, pool = torch.randn(2, 400, generator=generator, dtype=torch.float64)
    target = 0.6 * skip + 0.4 * pool
    torch.testing.assert_close(fitted([skip, pool], target), torch.tensor([0.6, 0.4], dtype=torch.float64))
    twins = fitted([skip, skip, pool], target)
    torch.testing.assert_close(twins, torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64))
    space = DartsSpace(2, 3, 1, ("skip_connect", "skip_connect_2", "max_pool_3x3"))
    tables = {name: twins.expand(2, 3) for name in space.cells}
    chosen = [
        {edge.operation for edge in TopEdges(sums_copies=together)(space, tables).cells["normal"].edges}
        for together in (False, True)
    ]
    assert chosen == [{"max_pool_3x3"}, {"skip_connect"}]


def test_copies_are_added_up_in_the_strength_of_an_edge_too():
    space = DartsSpace(2, 3, 1, ("skip_connect", "skip_connect_2", "sep_conv_3x3", "none"))
    table = torch.tensor([[0.25, 0.25, 0.4, 0.1], [0.1, 0.1, 0.45, 0.35]])
    edges = TopEdges(1, sums_copies=True)(space, dict.fromkeys(space.cells, table)).cells["normal"].edges
    assert [(edge.operation, edge.source) for edge in edges] == [("skip_connect", 0)]
    edges = TopEdges(1)(space, dict.fromkeys(space.cells, table)).cells["normal"].edges
    assert [(edge.operation, edge.source) for edge in edges] == [("sep_conv_3x3", 1)]
    with pytest.raises(ValueError, match=r"TopEdges.sums_copies \(model.deriver.sums_copies\) adds probabilities up"):
        TopEdges(by="logit", sums_copies=True)


@pytest.mark.parametrize(
    ("network", "size"), [(CIFARNetwork, (36, 20)), (ImageNetNetwork, (48, 14))], ids=["cifar", "imagenet"]
)
def test_batch_norm_after_pooling_adds_two_weights_for_each_channel(network, size):
    genotype = load_genotype("NASNet")
    pools = {name: sum("pool" in edge.operation for edge in cell.edges) for name, cell in genotype.cells.items()}
    assert all(pools.values())
    spec = network.paper_spec
    with torch.device("meta"):
        plain, normed = (network(*size, pool_norm=norm).build(genotype, spec) for norm in (False, True))
    positions = DartsSpace(*size).layout
    assert count_weights(normed) - count_weights(plain) == sum(
        2 * each.channels * pools[each.cell] for each in positions
    )
    norms = [module.norm for module in normed.modules() if hasattr(module, "pool")]
    assert all(isinstance(norm, BatchNorm) and norm.affine for norm in norms)
    assert len(norms) == sum(pools[each.cell] for each in positions)


def test_describe_counts_the_norms_of_pooling(capsys):
    found = []
    for options in ([], ["--pool_norm"]):
        arguments = ["describe", "DARTS_V1", "--network", "imagenet", "--format", "json", *options]
        assert main(arguments) == 0
        found.append(json.loads(capsys.readouterr().out)[0])
    pools = sum("pool" in edge.operation for edge in load_genotype("DARTS_V1").cells["reduce"].edges)
    assert pools > 0
    assert found[1]["weights"] - found[0]["weights"] == 2 * pools * (96 + 192)
    assert found[1]["multiply_adds"] == found[0]["multiply_adds"]  # of convolutions and linear layers
    assert main(["describe", "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|", "--pool_norm"]) == 2
    assert "has no pool_norm" in capsys.readouterr().err


def test_cosine_power_annealing_has_its_closed_form():
    values = rates(CosinePowerLR(optimizer(), 1e-3, 80), 90)
    for epoch, value in enumerate(values):
        t = (1 + torch.cos(torch.tensor(torch.pi * min(epoch / 80, 1.0), dtype=torch.float64))) / 2
        assert value == pytest.approx(float(1e-3 + 0.024 * (2 ** (t + 1) - 2) / 2), rel=1e-12)
    nearly = rates(CosinePowerLR(optimizer(), 0.0, 80, power=1 + 1e-9), 80)
    assert nearly[40] == pytest.approx(0.0125, rel=1e-6)
    with pytest.raises(ValueError, match=r"CosinePowerLR\.power must be greater than 1, but is 1"):
        CosinePowerLR(optimizer(), power=1.0)


def test_the_tiny_one_searches_what_differs_from_edge_to_edge():
    space = TINY["StacNAS"]().architecture.space
    assert len({len(space.cells["normal"].names(edge)) for edge in range(5)}) > 1
    assert Architecture(space, Softmax()).logits["normal"].shape == (5, 9)
