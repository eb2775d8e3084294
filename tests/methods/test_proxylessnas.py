"""ProxylessNAS: gradients by gates and by rewards, rescaling of both paths, and the numbers of its configurations."""

import copy
from dataclasses import replace

import pytest
import torch

from lit_nas.methods import DARTS, ProxylessNAS
from lit_nas.optim import Reinforce
from lit_nas.regularizers import CostFactor, ExpectedCost
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, SPACE, VARIANTS
from tests.support.tiny import PROXYLESS as OPTIM

PROXYLESS = {  # CIFAR-10 of the paper; the optimiser of the weights and the order of steps are those of the code
    "trainer.max_epochs": 200,
    "data": ("CIFAR10DataModule", {"batch_size": 64, "split": {"weights": 0.9, "arch": 0.1}}),
    "data.augmentation": {"crop_padding": 4, "flip": True, "cutout": 0, "auto_augment": False},
    "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 8}),
    "model.gradient": "gates",
    "model.paths": "two",
    "model.arch_every": 5,
    "model.optim.level": "bilevel",
    "model.optim.weights": (
        "DartsSGD",
        {"lr": 0.025, "momentum": 0.9, "weight_decay": 4e-5, "nesterov": True},
    ),
    "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
    "model.optim.schedule_every": "step",
    "model.optim.arch": ("DartsAdam", {"lr": 6e-3, "betas": [0.0, 0.999], "weight_decay": 0.0}),
    "model.optim.clip": 0.0,
    "model.optim.arch_from_epoch": 1,
}
EXPECTED = {
    "search/proxylessnas.yaml": PROXYLESS,
    "search/proxylessnas.yaml + layers/space/nas_bench_201.yaml": {
        **PROXYLESS,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}


def logits_of(module):
    return {name: value.detach().clone() for name, value in module.architecture.logits.items()}


def watched(module, *verbs):
    """The names of the verbs in the order in which they are called."""
    calls = []
    for verb in verbs:
        original = getattr(module, verb)

        def call(*args, verb=verb, original=original, **kwargs):
            calls.append(verb)
            return original(*args, **kwargs)

        setattr(module, verb, call)
    return calls


W, A = "step_weights", "step_arch"


@pytest.mark.parametrize(
    ("every", "steps", "expected"),
    [(1, 2, [W, A, W, A]), (2, 5, [W, W, A, W, W, A, W]), (5, 3, [W, W, W, A])],
)
def test_the_architecture_follows_every_nth_step_of_the_weights(every, steps, expected, tmp_path):
    module = ProxylessNAS(INPUTS, SPACE, arch_every=every, optim=OPTIM)
    calls = watched(module, W, A)
    fit(module, tmp_path, steps=steps)
    assert calls == expected


def test_the_weights_warm_up(tmp_path):
    module = ProxylessNAS(INPUTS, SPACE, arch_every=1, optim=replace(OPTIM, arch_from_epoch=1))
    before, seen = logits_of(module), []
    original = module.on_train_epoch_end
    module.on_train_epoch_end = lambda: (seen.append(logits_of(module)), original())[1]
    fit(module, tmp_path, epochs=2)
    assert all(torch.equal(seen[0][name], value) for name, value in before.items())
    assert all(not torch.equal(seen[1][name], value) for name, value in before.items())


def test_a_step_of_the_weights_touches_one_path(tmp_path):
    module = ProxylessNAS(INPUTS, SPACE, arch_every=1, optim=OPTIM)
    before, drawn = copy.deepcopy(module.network.state_dict()), []
    original = module.loss

    def loss(batch):
        mixture = module.architecture()
        if module.weights[0].requires_grad:
            drawn.extend(mixture)
        return original(batch, mixture)

    module.loss = loss
    trainer = fit(module, tmp_path, steps=1)
    paths = {
        f"cells.{index}.edges.{edge}.operations.{SPACE.operations[column]}."
        for index, cell in enumerate(drawn)
        for edge, (column,) in enumerate(cell.active)
    }
    assert not any(columns for cell in drawn for columns in cell.probed)
    momenta = {id(parameter) for parameter in trainer.optimizers[0].state}
    moved = 0
    for name, value in module.network.state_dict().items():
        if ".operations." in name and not name.startswith(tuple(paths)):
            assert torch.equal(value, before[name]), name
        elif ".operations." in name:
            moved += not torch.equal(value, before[name])
    assert moved
    for name, parameter in module.network.named_parameters():
        assert (id(parameter) in momenta) == (".operations." not in name or name.startswith(tuple(paths))), name


@pytest.mark.parametrize("paths", ["two", "all"])
def test_a_fit_moves_pairs_against_each_other(paths, tmp_path):
    module = ProxylessNAS(
        INPUTS, SPACE, paths=paths, arch_every=1, optim=replace(OPTIM, weights=OPTIM.weights)
    ).double()
    before = module.architecture.probabilities()
    fit_double(module, tmp_path)
    for name, p in module.architecture.probabilities().items():
        moved = ((p - before[name]).abs() > 1e-12).sum(-1)
        assert (moved == 2).all() if paths == "two" else (moved > 2).all()


def fit_double(module, folder):
    original = module.loss
    module.loss = lambda batch, mixture=None: original((batch[0].double(), batch[1]), mixture)
    return fit(module, folder, steps=1)


def test_an_expected_cost_moves_the_pair_alone(tmp_path):
    """Its gradient is q_i * (F_i - sum of q_j * F_j), of the two paths that the step knows."""
    module = VARIANTS["ProxylessNAS-with-cost"]()
    architecture = module.architecture
    module.optim = replace(OPTIM, regularizers=(ExpectedCost(Constant(1.0), reference=100.0),))
    costs = module.regularisation.table("parameters").by_type
    with architecture.drawing("arch"):
        mixture = {position.cell: cell for position, cell in zip(SPACE.layout, architecture(), strict=True)}
        zeros = [torch.zeros_like(parameter) for parameter in architecture.parameters()]
        found, _ = module.regularisation.add(zeros, None)
    for name, gradient in zip(architecture.logits, found, strict=True):
        for row, pair in enumerate(a + b for a, b in zip(mixture[name].active, mixture[name].probed, strict=True)):
            q, cost = architecture.logits[name][row, list(pair)].detach().softmax(0), costs[name][row, list(pair)]
            expected = q * (cost - (q * cost).sum()) / 100
            torch.testing.assert_close(gradient[row, list(pair)], expected.to(gradient.dtype))
            assert gradient[row].count_nonzero() <= 2
    everything, _ = module.regularisation.add(zeros, None)  # outside of a step it is that of all candidates
    assert all((each != 0).sum(-1).min() > 2 for each in everything)


def test_with_one_candidate_on_each_edge_it_is_darts(tmp_path):
    rows = {kind: [["sep_conv_3x3"], ["skip_connect"], ["max_pool_3x3"], ["dil_conv_5x5"], ["sep_conv_5x5"]] for kind in
            ("normal", "reduce")}  # fmt: skip
    space = DartsSpace(init_channels=2, num_cells=3, nodes=2, candidates=rows)
    one, other = ProxylessNAS(INPUTS, space, arch_every=1, optim=SearchOptim()), DARTS(INPUTS, space)
    other.network.load_state_dict(one.network.state_dict())
    for module in (one.double(), other.double()):
        original = module.loss
        module.loss = lambda batch, original=original: original((batch[0].double(), batch[1]))
        fit(module, tmp_path, epochs=2)
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_rewards_move_the_architecture_alone(tmp_path):
    module = VARIANTS["ProxylessNAS-reinforce"]()
    before, networks, seen = logits_of(module), [], []
    original = module.step_by_rewards

    def step(batch, baseline):
        networks.append(copy.deepcopy(module.network.state_dict()))
        original(batch, baseline)
        networks.append(copy.deepcopy(module.network.state_dict()))
        seen.append(module.architecture.clock.step.clone())

    module.step_by_rewards = step
    fit(module, tmp_path, steps=2)
    assert len(seen) == 2
    for first, second in (networks[:2], networks[2:]):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(not torch.equal(before[name], value) for name, value in logits_of(module).items())
    assert float(module.baseline.known) == 1
    assert 0 < float(module.baseline.value) < 1
    assert module.losses["arch"].update_called or module.trainer.callback_metrics["arch/loss"] < 0


def test_the_step_by_rewards_by_hand(tmp_path):
    reinforce = Reinforce(4, measure="parameters", reference=500.0)
    module = ProxylessNAS(INPUTS, SPACE, "reinforce", arch_every=1, reinforce=reinforce, optim=OPTIM)
    found, samples = [], []
    module.apply_arch_gradient = lambda gradient, reduced: found.append((list(gradient), reduced))
    accuracy = module._accuracy

    def watch(batch):
        mixture = module.architecture()
        value = accuracy(batch)
        samples.append((mixture, value))
        assert module.network.training
        return value

    module._accuracy = watch
    fit(module, tmp_path, steps=1)
    ((gradient, reduced),) = found
    assert reduced
    assert len(samples) == 4
    assert len({tuple(cell.active for cell in mixture) for mixture, _ in samples}) > 1
    table, first = module.regularisation.table("parameters"), {}
    for number, position in enumerate(SPACE.layout):
        first.setdefault(position.cell, number)
    rewards = []
    for mixture, value in samples:
        cost = table.fixed + sum(
            float(costs[edge, column])
            for costs, cell in zip(table.costs, mixture, strict=True)
            for edge, (column,) in enumerate(cell.active)
        )
        rewards.append(float(value) * (500 / cost) ** 0.1)
    mean = sum(rewards) / 4
    for name, each in zip(module.architecture.logits, gradient, strict=True):
        logits = module.architecture.logits[name].detach().requires_grad_()
        value = torch.zeros(())
        for reward, (mixture, _) in zip(rewards, samples, strict=True):
            rows = logits.log_softmax(-1)
            for edge, (column,) in enumerate(mixture[first[name]].active):
                value = value - (reward - mean) * rows[edge, column] / 4
        torch.testing.assert_close(each, torch.autograd.grad(value, logits)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gradient": "scores"}, r"model\.gradient must be gates or reinforce, not 'scores'"),
        ({"paths": "one"}, r"model\.paths must be two or all, not 'one'"),
        ({"arch_every": 0}, r"model\.arch_every must be at least 1, not 0"),
        ({"reinforce": Reinforce(3)}, r"model\.reinforce rewards networks, but model\.gradient is gates"),
        ({"gradient": "reinforce", "paths": "all"}, r"model\.paths is all, but reinforce draws one path"),
        ({"gradient": "reinforce", "optim": SearchOptim(level="single")}, "no gradient that both levels could share"),
        ({"gradient": "reinforce", "optim": SearchOptim(regularizers=(CostFactor(),))}, "CostFactor multiplies a loss"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProxylessNAS(INPUTS, SPACE, **arguments)
