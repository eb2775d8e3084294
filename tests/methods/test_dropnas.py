"""DropNAS: without dropout it is DARTS, what a step keeps of what it drops, and the numbers of its configurations."""

import copy

import pytest
import torch

from lit_nas.derivation import ArgmaxPerEdge, TopEdges
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS, DropNAS
from lit_nas.networks import EvaluationNetwork, SearchNetwork, count_weights
from lit_nas.networks.paper_networks import CIFARNetwork
from lit_nas.operations import BatchNorm
from lit_nas.optim import PartialDecay
from lit_nas.relaxations import GroupedDropout
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit, loader, snapshot
from tests.support.paper_numbers import CIFAR_AUGMENTATION
from tests.support.tiny import DROPOUT, INPUTS, NAS_BENCH_201, SPACE, TINY, pair

SEARCH = {
    "trainer.max_epochs": 76,
    "data": ("CIFAR10DataModule", {"batch_size": 96, "split": "all"}),
    "data.augmentation": CIFAR_AUGMENTATION,
    "model.relaxation": ("GroupedDropout", {"adjust": True, "group_size": None}),
    "model.relaxation.with_weights": ("Constant", {"value": 3e-5}),
    "model.relaxation.without_weights": ("Constant", {"value": 3e-5}),
    "model.optim.level": "single",
    "model.optim.weights": ("DartsSGD", {"lr": 0.0375, "momentum": 0.9, "weight_decay": 0.0}),
    "model.optim.schedule": ("SearchCosineLR", {"lr_min": 0.0015}),
    "model.optim.arch": ("DartsAdam", {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 0.0}),
    "model.optim.decay": {"weights": 3e-4, "arch": 1e-3, "own_step": False},
    "model.optim.clip": 3.0,
    "model.optim.arch_from_epoch": 0,
}
CONVS = ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
GEOMETRY = {"init_channels": 16, "num_cells": 14, "nodes": 4}
SKIPS = ["skip_connect", "skip_connect_2", "skip_connect_3"]
EXPECTED = {
    "search/dropnas.yaml": {**SEARCH, "model.space": ("DartsSpace", GEOMETRY)},
    "search/dropnas_3_skip.yaml": {
        **SEARCH, "model.space": ("DartsSpace", {**GEOMETRY, "operations": ["none", *SKIPS, *CONVS]}),
    },
    "search/dropnas_1_skip.yaml": {
        **SEARCH, "model.space": ("DartsSpace", {**GEOMETRY, "operations": ["none", "skip_connect", *CONVS]}),
    },
    "search/dropnas.yaml + layers/space/nas_bench_201.yaml": {
        **SEARCH, "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5}),
    },
    "retrain/dropnas.yaml": {
        "trainer.max_epochs": 600,
        "data": ("CIFAR10DataModule", {"batch_size": 192, "split": "all"}),
        "data.augmentation": {**CIFAR_AUGMENTATION, "cutout": 16},
        "model.network": ("CIFARNetwork", {"pool_norm": True}),
        "model.init_channels": 36,
        "model.num_cells": 20,
        "model.optim.weights": ("DartsSGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 3e-4}),
        "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
        "model.optim.clip": 3.0,
        "model.optim.drop_path": 0.2,
        "model.optim.auxiliary_weight": 0.4,
    },
}  # fmt: skip


class Doubled(torch.utils.data.Dataset):
    """The batches of the contract in float64."""

    def __init__(self, steps):
        self.inner = loader(steps).dataset

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        return {role: (images.double(), labels) for role, (images, labels) in self.inner[index].items()}


@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201])
@pytest.mark.parametrize("level", ["single", "bilevel"])
def test_without_dropout_it_is_darts_step_by_step(space, level, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.methods.test_contract.loader", lambda steps: torch.utils.data.DataLoader(
        Doubled(steps), batch_size=None
    ))  # fmt: skip
    optim = SearchOptim(level=level)
    plain = DARTS(INPUTS, space, optim=optim).double()
    module = DropNAS(INPUTS, space, GroupedDropout(Constant(0.0), Constant(0.0)), optim=optim).double()
    module.load_state_dict(plain.state_dict())
    for each, name in ((plain, "plain"), (module, "dropout")):
        fit(each, tmp_path / name, epochs=2, steps=2)
    found, expected = snapshot(module), snapshot(plain)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_the_decay_without_dropout_is_weight_decay_of_twice_the_strength(tmp_path):
    """With plain SGD and Adam: the decay of all that is used is theirs, behind the clipping."""
    optim = SearchOptim(
        lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: torch.optim.Adam(p, 1e-3), level="single",
        decay=PartialDecay(0.01, 0.02),
    )  # fmt: skip
    other = SearchOptim(
        lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.02),
        lambda p: torch.optim.Adam(p, 1e-3, weight_decay=0.04),
        level="single",
    )
    module, plain = TINY["DropNAS"](), TINY["DARTS-first-order"]()
    module.architecture.relaxation = GroupedDropout(Constant(0.0), Constant(0.0))
    plain.load_state_dict(module.state_dict())
    module.optim, plain.optim = optim, other
    fit(module, tmp_path / "one", steps=3)
    fit(plain, tmp_path / "other", steps=3)
    found = snapshot(module)
    for name, value in snapshot(plain).items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("level", ["single", "alternating"])
def test_a_step_keeps_the_probabilities_of_what_it_has_dropped(level, tmp_path):
    optim = SearchOptim(
        level=level, arch=lambda p: torch.optim.Adam(p, 0.3, (0.5, 0.999)), decay=PartialDecay(own_step=True)
    )
    module = TINY["DropNAS"]()
    module.optim, seen = optim, []
    step = module.apply_arch_gradient

    def watched(*args, **kwargs):
        before = module.architecture.probabilities()
        step(*args, **kwargs)
        executed = dict(zip(module.architecture.logits, module.architecture.executed(), strict=True))
        seen.append((before, module.architecture.probabilities(), executed))

    module.apply_arch_gradient = watched
    fit(module, tmp_path, steps=4)
    assert len(seen) == 4
    dropped = 0
    for before, after, executed in seen:
        for cell, kept in executed.items():
            dropped += int((~kept).sum())
            torch.testing.assert_close(after[cell][~kept], before[cell][~kept], rtol=1e-5, atol=1e-7)
            assert not torch.equal(after[cell][kept], before[cell][kept])
    assert dropped
    assert len({tuple(map(tuple, executed["normal"].tolist())) for _, _, executed in seen}) > 1  # masks of each step


def test_a_step_outside_of_a_draw_is_refused():
    gradient = [torch.zeros(5, 8)] * 2
    with pytest.raises(RuntimeError, match="GroupedDropout settles what a step has drawn: step within `drawing`"):
        TINY["DropNAS"]().apply_arch_gradient(gradient, reduced=True)


def test_what_is_dropped_is_left_as_it_is(tmp_path):
    module = TINY["DropNAS"]()
    before = copy.deepcopy(module)
    module.train()
    with module.architecture.drawing("both"):
        mixture = module.architecture()
    fit(module, tmp_path, steps=1)
    first, cells = {}, list(zip(module.network.cells, before.network.cells, mixture, strict=True))
    for number, (cell, old, mixed) in enumerate(cells):
        # one mask for all cells of a type
        assert mixed.active == first.setdefault(module.network.types[number], mixed.active)
        for edge, columns in enumerate(mixed.active):
            for column, name in enumerate(cell.space.operations):
                new, former = (each.edges[edge].operations[name] for each in (cell, old))
                same = all(
                    torch.equal(a, b)
                    for a, b in zip(new.state_dict().values(), former.state_dict().values(), strict=True)
                )
                if column not in columns:
                    assert same
                elif any(isinstance(each, BatchNorm) for each in new.modules()):
                    assert not same
    assert first["normal"] != first["reduce"]


def test_sizes_of_networks():
    assert count_weights(DropNAS().network) == 3_239_674
    assert count_weights(SearchNetwork(DartsSpace(num_cells=8), ImageSpec())) == 1_930_618
    genotype = load_genotype("DropNAS")
    assert count_weights(CIFARNetwork(pool_norm=True).build(genotype, ImageSpec())) == 3_839_662
    assert count_weights(EvaluationNetwork(genotype, auxiliary=False)) == 3_839_230
    pools = [m.norm for m in CIFARNetwork(pool_norm=True).build(genotype, ImageSpec()).modules() if hasattr(m, "pool")]
    assert len(pools) == 2
    assert all(norm.affine for norm in pools)


@pytest.mark.parametrize(("operations", "free"), [(["none", *SKIPS, *CONVS], 4), (["none", "skip_connect", *CONVS], 2)])
def test_the_spaces_with_three_and_one_skip_connections(operations, free, tmp_path):
    module = DropNAS(INPUTS, DartsSpace(2, 3, 2, operations), DROPOUT)
    assert sum(name in DROPOUT.free for name in operations) == free
    fit(module, tmp_path, steps=2)
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits[:, free - 1] += 5  # the last skip connection
    genotype = module.derive()
    assert {edge.operation for cell in genotype.cells.values() for edge in cell.edges} == {"skip_connect"}


def test_edges_are_compared_by_their_parameters():
    module = DropNAS(INPUTS, SPACE)
    assert module.deriver == TopEdges(2, by="logit")
    assert DropNAS(INPUTS, NAS_BENCH_201).deriver == ArgmaxPerEdge()
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.fill_(0.0)
            logits[:, 0] = 50.0  # `none` is never chosen
            logits[:, 4] = torch.tensor([3.0, 1.0, 2.0, 4.0, 3.0])
            logits[3, :] += 1.0
            logits[2, 5] = 1.9  # less probable, but larger than that of the other edge
    cell = module.derive().cells["normal"]
    assert [(edge.source, edge.target) for edge in cell.edges] == [(0, 2), (1, 2), (1, 3), (2, 3)]
    for node in (2, 3):
        inbound = cell.inbound(node)
        assert len({edge.source for edge in inbound}) == 2
        assert all(edge.operation != "none" for edge in inbound)


def test_masks_depend_on_seed_and_step_alone():
    def active(seed, step):
        torch.manual_seed(seed)
        architecture = TINY["DropNAS"]().architecture.train()
        architecture.clock.set(step, step / 10)
        with architecture.drawing("both"):
            return tuple(cell.active for cell in architecture())

    assert active(0, 1) == active(0, 1)
    assert len({active(0, 1), active(0, 2), active(1, 1)}) == 3


def test_evaluation_drops_nothing():
    module = TINY["DropNAS"]().eval()
    assert all(len(columns) == 8 for cell in module.architecture() for columns in cell.active)
    assert pair(0)[0].shape[0] == 6
