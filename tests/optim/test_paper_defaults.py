"""Optimisers against the numbers of the papers."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import LBFGS

from lit_nas.methods import dropnas, gdas, p_darts, parsec, pc_darts, proxylessnas
from lit_nas.optim import DartsAdam, DartsSGD, make_part


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (DartsSGD, {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False, "dampening": 0}),
        (DartsAdam, {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3, "eps": 1e-8, "amsgrad": False}),
        (pc_darts.PAPER.weights, {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False}),
        (pc_darts.PAPER.arch, {"lr": 6e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3, "eps": 1e-8}),
        (p_darts.PAPER.arch, {"lr": 6e-4, "betas": (0.5, 0.999), "weight_decay": 1e-3, "eps": 1e-8}),
        (proxylessnas.PAPER.weights, {"lr": 0.025, "momentum": 0.9, "weight_decay": 4e-5, "nesterov": True}),
        (proxylessnas.PAPER.arch, {"lr": 6e-3, "betas": (0.0, 0.999), "weight_decay": 0.0, "eps": 1e-8}),
        (parsec.PAPER.arch, {"lr": 3e-3, "betas": (0.5, 0.999), "weight_decay": 0.0, "eps": 1e-8}),
        (gdas.PAPER.weights, {"lr": 0.025, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
        (dropnas.PAPER.weights, {"lr": 0.0375, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False}),
        (dropnas.PAPER.arch, {"lr": 3e-4, "betas": (0.5, 0.999), "weight_decay": 0.0, "eps": 1e-8}),
    ],
)
def test_defaults_are_the_numbers_of_the_paper(make, numbers):
    group = make([nn.Parameter(torch.zeros(2))]).param_groups[0]
    assert {name: group[name] for name in numbers} == numbers


def test_refused_settings_are_named_by_their_key():
    weights = [nn.Parameter(torch.ones(2))]
    assert isinstance(make_part(DartsSGD, weights, "model.optim.weights"), DartsSGD)
    for build, message in (
        (partial(DartsSGD, lr=-1.0), "refuses its settings: Invalid learning rate: -1.0."),
        (partial(DartsSGD, foo=1), "refuses its settings: .*unexpected keyword argument 'foo'"),
        (LBFGS, "is LBFGS, which computes several losses a step"),
    ):
        with pytest.raises(ValueError, match=rf"^model\.optim\.weights {message}"):
            make_part(build, weights, "model.optim.weights")
