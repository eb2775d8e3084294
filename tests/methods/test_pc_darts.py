"""PC-DARTS: network and gradients of its formulas, its neutral values, and the numbers of its configurations."""

import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from lit_nas.callbacks import Prune
from lit_nas.cli import main
from lit_nas.edges import PartialChannels
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS, PCDARTS
from lit_nas.networks import EvaluationNetwork, SearchNetwork, count_weights
from lit_nas.pruning import Pruning
from lit_nas.relaxations import Entmax, Relaxation
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import changed, fit, snapshot
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, SPACE

PAPER = {  # section 4.2 of the paper; what it does not say is as in DARTS
    **DARTS_SEARCH,
    "model.relaxation": ("Softmax", {}),
    "model.edge_relaxation": ("Softmax", {}),
    "model.edges": ("PartialChannels", {"k": 4, "choice": "first"}),
    "model.optim.weights": ("DartsSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False}),
    "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
    "model.optim.arch": ("DartsAdam", {"lr": 6e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
    "model.optim.arch_from_epoch": 15,
    "data": ("CIFAR10DataModule", {"batch_size": 256, "split": "half", "split_seed": None}),
}
EXPECTED = {
    "search/pc_darts.yaml": PAPER,
    "search/pc_darts.yaml + layers/space/nas_bench_201.yaml": {
        **PAPER,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
    "search/pc_darts_imagenet.yaml": {  # section 4.3
        **PAPER,
        "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 8, "nodes": 4, "stem": "imagenet"}),
        "model.edges": ("PartialChannels", {"k": 2, "choice": "first"}),
        "model.optim.weights": ("DartsSGD", {"lr": 0.5, "momentum": 0.9, "weight_decay": 3e-4, "nesterov": False}),
        "model.optim.schedule": ("RampedCosineLR", {"lr_min": 0.0, "warm_up": 5}),
        "model.optim.arch": ("DartsAdam", {"lr": 6e-3, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
        "model.optim.arch_clip": 5.0,
        "model.optim.arch_from_epoch": 35,
        "data": ("ImageFolderDataModule", {"batch_size": 128, "split": {"weights": 0.1, "arch": 0.025}, "size": 224}),
        "data.augmentation": {"crop_padding": 0, "flip": True, "cutout": 0, "auto_augment": False},
    },
    "retrain/imagenet_linear.yaml": {  # section 4.3, and the one of P-DARTS
        "trainer.max_epochs": 250,
        "data": (
            "ImageFolderDataModule",
            {"batch_size": 1024, "split": "all", "size": 224, "random_resized_crop": True},
        ),
        "data.augmentation": {"crop_padding": 0, "flip": True, "cutout": 0, "auto_augment": False},
        "model.network": "imagenet",
        "model.init_channels": 48,
        "model.num_cells": 14,
        "model.optim.weights": ("DartsSGD", {"lr": 0.5, "momentum": 0.9, "weight_decay": 3e-5}),
        "model.optim.schedule": ("WarmUpLinearLR", {"first": 5, "last": 5}),
        "model.optim.schedule_every": "epoch",
        "model.optim.clip": 5.0,
        "model.optim.drop_path": 0.0,
        "model.optim.auxiliary_weight": 0.4,
        "model.optim.label_smoothing": 0.1,
    },
}


@dataclass(frozen=True)
class Ones(Relaxation):
    """Edges of equal weight, as DARTS has them."""

    def probabilities(self, logits, mask, clock):
        return (torch.ones_like(logits) + 0.0 * logits) * mask


@pytest.mark.parametrize("edges", [None, Ones()])
def test_all_channels_and_equal_edges_are_darts(edges, tmp_path):
    torch.manual_seed(2)
    expected = DARTS(INPUTS, SPACE).double()
    found = PCDARTS(INPUTS, SPACE, edge_relaxation=edges, edges=PartialChannels(1), optim=SearchOptim()).double()
    found.load_state_dict(expected.state_dict(), strict=False)
    found.architecture.seed.copy_(expected.architecture.seed)

    def steps(module):
        loss = module.loss
        module.loss = lambda batch, *rest: loss((batch[0].double(), batch[1]), *rest)
        fit(module, tmp_path, epochs=2, steps=2)
        return snapshot(module)

    theirs, ours = steps(expected), steps(found)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-14, msg=name)


def shuffled(x, groups):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def by_the_authors(module, images, alphas, betas, k):
    """Logits as the loops of `model_search.py` compute them, with the modules of a network of ours."""
    network, space = module.network, module.architecture.space
    before = last = network.stem(images)
    for cell in network.cells:
        kind, offset = cell.space.name, 0
        weights, states = alphas[kind].softmax(-1), cell.inputs(before, last)
        for node in range(space.nodes):
            count, total = 2 + node, 0
            edge_weights = betas[kind][offset : offset + count].softmax(-1)
            for j in range(count):
                seen = states[j].shape[1] // k
                part, rest = states[j][:, :seen], states[j][:, seen:]
                operations = cell.edges[offset + j].operations.values()
                mixed = sum(w * op(part) for w, op in zip(weights[offset + j], operations, strict=True))
                rest = rest if mixed.shape[2] == rest.shape[2] else F.max_pool2d(rest, 2, 2)
                total = total + edge_weights[j] * shuffled(torch.cat([mixed, rest], 1), k)
            offset += count
            states.append(total)
        before, last = last, torch.cat(states[2:], 1)
    return network.classifier(last.mean((2, 3)))


def test_the_network_and_its_gradients_are_those_of_the_authors():
    module = PCDARTS(ImageSpec(3, 8, 8, 5), DartsSpace(init_channels=8, num_cells=3)).double()
    other, architecture = copy.deepcopy(module), module.architecture
    for logits in architecture.parameters():
        logits.data.normal_()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 3, 4, 1])
    logits = module(images)
    alphas, betas = (
        {name: value.detach().clone().requires_grad_() for name, value in values.items()}
        for values in (architecture.logits, architecture.edge_logits)
    )
    expected = by_the_authors(other, images, alphas, betas, 4)
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    ours = torch.autograd.grad(F.cross_entropy(logits, labels), list(architecture.parameters()))
    theirs = torch.autograd.grad(F.cross_entropy(expected, labels), [*alphas.values(), *betas.values()])
    for found, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-12)


def test_alpha_and_beta_rest_while_the_weights_warm_up(tmp_path):
    module = PCDARTS(INPUTS, SPACE, edges=PartialChannels(2), optim=SearchOptim(arch_from_epoch=2))
    states = [snapshot(module)]
    module.on_train_epoch_end = lambda known=module.on_train_epoch_end: (known(), states.append(snapshot(module)))
    fit(module, tmp_path, epochs=3)
    for epoch, (before, after) in enumerate(pairwise(states)):
        for kind in ("logits", "edge_logits"):
            assert bool(changed(before, after, f"architecture.{kind}")) == (epoch == 2)
        assert changed(before, after, "network.")


def test_the_product_of_alpha_and_beta_is_derived():
    module = PCDARTS(INPUTS, DartsSpace(init_channels=8, num_cells=3))
    for logits in module.architecture.parameters():
        logits.data.zero_()
    edges = module.architecture.space.cells["normal"].edges
    last = [edge for edge, (_, target) in enumerate(edges) if target == 5]
    beta = module.architecture.edge_logits["normal"]
    beta.data[last[1]], beta.data[last[3]] = 2.0, 3.0
    chosen = module.derive().cells["normal"].inbound(5)
    assert [edge.source for edge in chosen] == [3, 1]  # the strongest edge first
    torch.manual_seed(0)
    for logits in module.architecture.logits.values():
        logits.data.normal_()
    alpha = module.architecture.logits["normal"]
    operations = module.architecture.space.operations
    for scale in (1.0, -4.0, 9.0):
        beta.data.mul_(scale)
        for edge in module.derive().cells["normal"].edges:  # no beta changes the operation of an edge
            row = alpha[edges.index((edge.source, edge.target))].tolist()
            row[operations.index("none")] = float("-inf")
            assert edge.operation == operations[row.index(max(row))]


@pytest.mark.parametrize(
    ("name", "weights", "large"),
    [
        ("PC_DARTS_CIFAR", 3_634_678, False),
        ("PC_DARTS_IMAGENET", 5_342_464, True),
        ("PC_DARTS_CIFAR", 5_270_560, True),
    ],
)
def test_weight_counts_of_the_published_cells(name, weights, large):
    sizes = (ImageSpec(3, 224, 224, 1000), 48, 14, False, "imagenet") if large else (ImageSpec(), 36, 20, False)
    with torch.device("meta"):
        assert count_weights(EvaluationNetwork(load_genotype(name), *sizes)) == weights


def test_sizes_of_the_search_networks():
    assert count_weights(PCDARTS().network) == 299_578
    with torch.device("meta"):
        space = DartsSpace(stem="imagenet")
        network = SearchNetwork(space, ImageSpec(3, 224, 224, 1000), edges=PartialChannels(2))
    assert [tuple(p.shape) for n, p in network.stem.named_parameters() if "conv.weight" in n] == [
        (24, 3, 3, 3), (48, 24, 3, 3), (48, 48, 3, 3),
    ]  # fmt: skip
    sizes = []
    for cell in network.cells:
        cell.inputs.register_forward_hook(lambda _, given, states: sizes.append([tuple(s.shape[1:]) for s in states]))
    mixture = PCDARTS(space=DartsSpace(init_channels=8)).architecture()
    network(torch.empty(1, 3, 224, 224, device="meta"), [replace(cell, weights=cell.weights.to("meta"),
                                                                 beside=None) for cell in mixture])  # fmt: skip
    assert sizes[0] == [(16, 28, 28)] * 2
    assert sizes[-1] == [(64, 7, 7)] * 2
    with pytest.raises(ValueError, match=r"space\.stem must be cifar or imagenet, not 'small'"):
        DartsSpace(stem="small")
    with pytest.raises(ValueError, match="48x48 pixels do not fit a network with 5 reductions"):
        SearchNetwork(DartsSpace(stem="imagenet"), ImageSpec(3, 48, 48, 10))


def test_partial_channels_combine_with_another_relaxation_and_pruning(tmp_path):
    module = PCDARTS(INPUTS, SPACE, Entmax(2.0), edges=PartialChannels(2), optim=SearchOptim(level="single"))
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.copy_(torch.randn(logits.shape))
    fit(module, tmp_path, callbacks=[Prune(Pruning(every="step"))])
    assert module.architecture.pruned
    assert module.derive().cells


@pytest.mark.slow
def test_they_combine_in_yaml(tmp_path):
    (tmp_path / "more.yaml").write_text(
        "model: {init_args: {relaxation: {class_path: Entmax, init_args: {alpha: 2.0}}}}\n"
        "trainer: {callbacks: [{class_path: Prune}]}\n"
    )
    layers = ["configs/search/pc_darts.yaml", str(tmp_path / "more.yaml"), "configs/layers/smoke/search.yaml"]
    files = [argument for layer in layers for argument in ("-c", layer)]
    data = ["--data", "SyntheticDataModule", "--data.num_images", "200", "--trainer.accelerator", "cpu"]
    assert main(["fit", *files, *data, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    assert load_genotype(tmp_path / "run" / "genotype.json").meta["method"] == "PCDARTS"


def orders_of_a_run(seed, folder):
    """What each loss of a run saw: for each edge the order of its channels."""
    module, orders = PCDARTS(INPUTS, SPACE, edges=PartialChannels(2, "random"), optim=SearchOptim()), []
    module.architecture.seed.fill_(seed)
    edges, loss = [edge for cell in module.network.cells for edge in cell.edges], module.loss
    module.loss = lambda *given: (orders.append(tuple(tuple(e.order.tolist()) for e in edges)), loss(*given))[1]
    fit(module, folder, epochs=2, steps=2)
    return orders, edges


def test_random_channels_are_drawn_for_each_step_and_edge(tmp_path):
    orders, edges = orders_of_a_run(3, tmp_path)
    assert orders[::2] == orders[1::2]  # both levels of a step see one draw
    assert len(set(orders)) == 4
    assert len(set(orders[0])) > 2  # edges differ
    assert orders_of_a_run(3, tmp_path)[0] == orders != orders_of_a_run(4, tmp_path)[0]
    edge, channels = edges[-1], len(edges[-1].order)
    x, weights = torch.randn(2, channels, 4, 4), {"skip_connect": torch.tensor(0.5), "none": torch.tensor(0.5)}
    for training in (True, False):
        edge.train(training)
        known = x[:, edge.order] if training else x
        wanted = torch.cat([0.5 * known[:, : channels // 2], 0.25 * known[:, channels // 2 :]], 1)
        torch.testing.assert_close(edge(x, weights, torch.tensor(0.25)), wanted)


def test_the_gradient_of_the_architecture_is_clipped(tmp_path):
    optim = SearchOptim(arch=partial(torch.optim.SGD, lr=1.0), arch_clip=1e-3)
    module = PCDARTS(INPUTS, SPACE, edges=PartialChannels(2), optim=optim)
    before = snapshot(module)
    fit(module, tmp_path, steps=1)
    after = snapshot(module)
    steps = [after[key] - before[key] for key in changed(before, after, "architecture.") if "logits" in key]
    assert float(torch.cat([step.flatten() for step in steps]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"1/4 do not fit cells of 2 channels: K must divide them"):
        PCDARTS(INPUTS, SPACE)
    with pytest.raises(ValueError, match=r"edges\.choice of PartialChannels must be first or random, not 'last'"):
        PartialChannels(4, "last")
