"""DARTS: algorithm 1 of the paper by hand, and the numbers of its configurations."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.methods.test_contract import fit, snapshot
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import TINY, pair

EXPECTED = {
    "search/darts.yaml": {**DARTS_SEARCH, "model.order": 1},
    "search/darts_second_order.yaml": {
        **DARTS_SEARCH,
        "model.order": 2,
        "model.product": "finite_difference",
    },
    "search/darts_single_level.yaml": {
        **DARTS_SEARCH,
        "model.order": 1,
        "model.optim.level": "single",
        "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "all"}),
    },
    "retrain/cifar.yaml": {  # appendix A.2
        "trainer.max_epochs": 600,
        "data": ("CIFAR10DataModule", {"batch_size": 96, "split": "all"}),
        "data.augmentation": {"crop_padding": 4, "flip": True, "cutout": 16, "auto_augment": False},
        "model.network": "cifar",
        "model.init_channels": 36,
        "model.num_cells": 20,
        "model.optim.weights": (
            "DartsSGD",
            {"lr": 0.025, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False},
        ),
        "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
        "model.optim.schedule_every": "epoch",
        "model.optim.clip": 5.0,
        "model.optim.drop_path": 0.2,
        "model.optim.auxiliary_weight": 0.4,
        "model.optim.label_smoothing": 0.0,
    },
    "retrain/imagenet.yaml": {  # appendix A.3
        "trainer.max_epochs": 250,
        "data": (
            "ImageFolderDataModule",
            {"batch_size": 128, "split": "all", "size": 224, "random_resized_crop": True},
        ),
        "data.augmentation": {"crop_padding": 0, "flip": True, "cutout": 0, "auto_augment": False},
        "model.network": "imagenet",
        "model.init_channels": 48,
        "model.num_cells": 14,
        "model.optim.weights": ("DartsSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-5}),
        "model.optim.schedule": ("EpochDecayLR", {"gamma": 0.97}),
        "model.optim.schedule_every": "epoch",
        "model.optim.clip": 5.0,
        "model.optim.drop_path": 0.0,
        "model.optim.auxiliary_weight": 0.4,
        "model.optim.label_smoothing": 0.1,
    },
}


def losses(module, seed):
    images, labels = pair(seed)
    return cross_entropy(module.network(images, module.architecture()), labels)


def by_hand(module, weights_first):
    """One step of algorithm 1 with optimisers of torch; the paper updates the architecture first."""
    arch, weights = list(module.architecture.parameters()), list(module.network.parameters())
    adam = torch.optim.Adam(arch, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    sgd = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4)

    def update(optimiser, parameters, seed):
        for parameter, gradient in zip(parameters, torch.autograd.grad(losses(module, seed), parameters), strict=True):
            parameter.grad = gradient
        if optimiser is sgd:
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()

    levels = [(adam, arch, 1), (sgd, weights, 0)]  # the batches that the loader of the contract yields first
    for optimiser, parameters, seed in reversed(levels) if weights_first else levels:
        update(optimiser, parameters, seed)
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def test_a_first_order_step_is_algorithm_1(tmp_path):
    module = TINY["DARTS-first-order"]()
    expected = by_hand(copy.deepcopy(module).train(), weights_first=False)
    swapped = by_hand(copy.deepcopy(module).train(), weights_first=True)
    fit(module, tmp_path, steps=1)
    found = snapshot(module)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=2e-6, msg=name)
    apart = max((swapped[name] - value).abs().max() for name, value in expected.items())
    assert apart > 1e-5  # so the order of the two updates is what was compared


@pytest.mark.parametrize(
    ("order", "roles"),
    [
        ("first", ["arch", "weights"]),
        # virtual step, loss of the architecture after it, both sides of the finite difference, step of the weights
        ("second", ["weights", "arch", "weights", "weights", "weights"]),
    ],
)
def test_on_which_images_each_loss_of_a_step_is_computed(order, roles, tmp_path):
    module, seen = TINY[f"DARTS-{order}-order"](), []
    loss, names = module.loss, {pair(0)[0].sum().item(): "weights", pair(1)[0].sum().item(): "arch"}

    def watched(batch, *rest):
        seen.append(names[batch[0].sum().item()])
        return loss(batch, *rest)

    module.loss = watched
    fit(module, tmp_path, steps=1)
    assert seen == roles
