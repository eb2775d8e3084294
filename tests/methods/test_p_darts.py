"""P-DARTS: dropout after skip connections, the limit of skip connections, what a stage leaves, and its numbers."""

from math import exp

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from lit_nas.callbacks import SkipDropout
from lit_nas.clock import Moment
from lit_nas.derivation import LimitedSkips, TopEdges
from lit_nas.engine import Reference
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS, PDARTS
from lit_nas.networks import SearchNetwork
from lit_nas.networks.complexity import count_weights
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.schedules import Constant, LinearThenExponential
from lit_nas.search import DroppedSkip, SearchOptim
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit, snapshot
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair

STAGE = {  # section 4 of the paper and the authors' train_search.py
    **DARTS_SEARCH,
    "trainer.max_epochs": 25,
    "data": ("CIFAR10DataModule", {"batch_size": 96, "split": "half", "split_seed": None}),
    "model.space": ("DartsSpace", {"init_channels": 16, "num_cells": 5, "nodes": 4}),
    "model.skip_dropout": ("LinearThenExponential", {"start": 0.0, "epochs": 10, "decay": 0.2}),
    "model.keep": None,
    "model.optim.schedule": ("CosineLR", {"lr_min": 0.0}),
    "model.optim.arch": ("DartsAdam", {"lr": 6e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}),
    "model.optim.clip": 5.0,
    "model.optim.arch_clip": 5.0,
    "model.optim.arch_from_epoch": 10,
    "model.deriver": ("LimitedSkips", {"limit": 2, "rule": None, "cells": ["normal"]}),
}
EXPECTED = {
    "search/p_darts.yaml": STAGE,
    "search/p_darts.yaml + layers/space/nas_bench_201.yaml": {
        **STAGE,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}
EPOCHS = 25


def rate(p, epoch):
    return LinearThenExponential(p)(Moment(epoch * 260 + 13, epoch + 0.05, EPOCHS * 260, EPOCHS))


def test_the_rate_of_the_dropout_is_that_of_the_authors():
    for epoch, expected in ((0, 0.672), (9, 0.42), (10, 0.7), (24, 0.7 * exp(-2.8))):
        assert rate(0.7, epoch) == pytest.approx(expected, abs=1e-12)
    assert rate(0.7, 24) == pytest.approx(0.0426, abs=1e-4)


@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201])
def test_without_its_own_parts_it_is_darts_step_by_step(space, tmp_path):
    """Dropout off, one stage of all candidates, the rule of DARTS."""
    ours = PDARTS(INPUTS, space, optim=SearchOptim(), deriver=TopEdges() if space is SPACE else None).double()
    theirs = DARTS(INPUTS, space).double()
    theirs.load_state_dict(ours.state_dict())
    seen = {}

    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.setdefault(type(pl_module).__name__, []).append(snapshot(pl_module))

    for module in (ours, theirs):
        module.network.register_forward_pre_hook(lambda network, given: (given[0].double(), *given[1:]))
        fit(module, tmp_path / type(module).__name__, epochs=2, steps=2, callbacks=[Keep()])
    assert len(seen["PDARTS"]) == 4
    for mine, other in zip(seen["PDARTS"], seen["DARTS"], strict=True):
        assert all(torch.equal(value, other[key]) for key, value in mine.items())
    if space is SPACE:
        assert ours.derive().cells == theirs.derive().cells


def test_the_architecture_waits_and_a_rate_of_zero_leaves_the_skip_connections_alone(tmp_path):
    module = PDARTS(INPUTS, SPACE, LinearThenExponential(0.0), optim=SearchOptim(arch_from_epoch=1))
    states = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            assert not [part for part in pl_module.network.modules() if isinstance(part, DroppedSkip)]

        def on_train_epoch_end(self, trainer, pl_module):
            states.append(snapshot(pl_module.architecture.logits))

    start = snapshot(module.architecture.logits)
    fit(module, tmp_path, epochs=2, steps=2, callbacks=[Watch()])
    assert all(torch.equal(states[0][name], value) for name, value in start.items())
    assert not any(torch.equal(states[1][name], value) for name, value in start.items())


@pytest.mark.parametrize(
    ("cells", "weights"),
    [
        (5, 1_275_834),
        pytest.param(11, 2_585_146, marks=pytest.mark.slow),
        pytest.param(17, 3_894_202, marks=pytest.mark.slow),
    ],
)
def test_weights_of_the_search_networks(cells, weights):
    with torch.device("meta"):
        assert count_weights(SearchNetwork(DartsSpace(num_cells=cells), ImageSpec())) == weights


def test_reductions_of_the_stages():
    reductions = [
        tuple(index for index, position in enumerate(DartsSpace(num_cells=cells).layout) if position.cell == "reduce")
        for cells in (5, 11, 17)
    ]
    assert reductions == [(1, 3), (3, 7), (5, 11)]


def test_weights_of_the_published_cell():
    genotype = load_genotype("PDARTS")
    with torch.device("meta"):
        assert count_weights(EvaluationNetwork(genotype, auxiliary=False)) == 3_433_798
        imagenet = EvaluationNetwork(
            genotype, ImageSpec(3, 224, 224, 1000), 48, 14, auxiliary=False, stem="imagenet"
        )  # fmt: skip
    assert count_weights(imagenet) == 4_944_352


# -- what is dropped -------------------------------------------------------------------------------------------------


def one_edge(values):
    """A space, and probabilities that an edge of its normal cell has."""
    space = DartsSpace(nodes=1, candidates={"normal": [list(values), ["sep_conv_5x5"]]})
    tables = {name: torch.zeros(2, 8, dtype=torch.float64) for name in space.cells}
    tables["reduce"][:, 4] = tables["normal"][1, 5] = 1.0
    for name, value in values.items():
        tables["normal"][0, DARTS_OPERATIONS.index(name)] = value
    return space, tables


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"none": 0.8, "sep_conv_3x3": 0.15, "skip_connect": 0.05}, "sep_conv_3x3"),
        ({"skip_connect": 0.5, "sep_conv_3x3": 0.3, "dil_conv_3x3": 0.2}, "skip_connect"),
    ],
)
def test_none_goes_first_and_then_the_weaker_one(values, best):
    space, tables = one_edge(values)
    assert LimitedSkips()(space, tables).cells["normal"].edges[0].operation == best


def test_dropout_lies_behind_skip_connections_of_stride_1_alone():
    space = DartsSpace(
        init_channels=4, num_cells=3, nodes=1,
        candidates={"normal": [["skip_connect"]] * 2, "reduce": [["skip_connect"]] * 2},
    )  # fmt: skip
    module = PDARTS(INPUTS, space, Constant(1 - 1e-6), optim=SearchOptim())
    sizes = ((12, 8), (12, 8)), ((12, 8), (4, 8)), ((4, 8), (8, 4))  # channels and pixels of both inputs
    for cell, mixed, inputs in zip(module.network.cells, module.architecture(), sizes, strict=True):
        states = [torch.randn(2, channels, side, side) for channels, side in inputs]
        trained = cell(*states, mixed)
        if cell.space.name == "normal":
            assert not trained.any()
        else:
            assert sum(isinstance(part, DroppedSkip) for part in cell.modules()) == 0
            assert torch.equal(trained, cell(*states, mixed))
            assert trained.any()
    module.eval()
    images, _ = pair(0)
    assert torch.equal(module(images), module(images))
    assert module(images).std() > 0


def test_at_rate_zero_a_stage_is_the_network_of_darts_on_the_same_weights():
    ours = PDARTS(INPUTS, SPACE, LinearThenExponential(0.0), engine=Reference()).double()
    theirs = SearchNetwork(SPACE, INPUTS, Reference()).double()
    theirs.load_state_dict(ours.network.state_dict())
    images = pair(1)[0].double()
    assert torch.equal(ours.network(images, ours.architecture()), theirs(images, ours.architecture()))


# -- the limit of skip connections, against the loop of the authors' script -----------------------------------------


def live(switches, edge):
    return [column for column in range(8) if switches[edge][column]]


def keep_one(switches, probs):
    """`keep_1_on`: of the live operations of each edge one stays, `none` goes first."""
    kept = np.zeros_like(switches)
    for edge in range(14):
        columns = live(switches, edge)
        values = {column: probs[edge][place] for place, column in enumerate(columns) if column != 0}
        kept[edge][max(values, key=values.get)] = True
    return kept


def keep_two(switches, probs):
    """`keep_2_branches`: of the edges of each node the two with the largest probability stay."""
    strength, kept, start = [max(row) for row in probs], [0, 1], 2
    for count in (3, 4, 5):
        order = sorted(range(count), key=lambda place: strength[start + place])
        kept += [order[-1] + start, order[-2] + start]
        start += count
    return np.array([row if edge in kept else np.zeros(8, bool) for edge, row in enumerate(switches)])


def slow_limit(switches, table, limit):
    """The genotype of the authors' script as (operation, source, target), for the stage-3 switches of one cell."""
    probs = [[0.0 if column == 0 else table[edge][column] for column in live(switches, edge)] for edge in range(14)]
    found = keep_two(keep_one(switches, probs), probs)
    while found[:, 3].sum() > limit:
        places = {edge: live(switches, edge).index(3) for edge in range(14) if found[edge][3]}
        weakest = min(places, key=lambda edge: probs[edge][places[edge]])
        probs[weakest][places[weakest]] = 0.0
        found = keep_two(keep_one(switches, probs), probs)
    edges = [(source, target) for target in range(2, 6) for source in range(target)]
    return [(DARTS_OPERATIONS[int(row.argmax())], *edges[edge]) for edge, row in enumerate(found) if row.any()]


def stage_three(seed, skips=0.6):
    """Switches of three operations on each edge, many skip connections among them, and a table of probabilities."""
    generator = np.random.default_rng(seed)
    switches = np.zeros((14, 8), bool)
    for row in switches:
        row[generator.choice(8, 3, replace=False)] = True
        if generator.random() < skips and not row[3]:
            row[generator.choice(np.flatnonzero(row))] = False
            row[3] = True
    logits = generator.normal(size=(14, 8))
    logits[:, 3] += 2.5
    table = np.where(switches, np.exp(logits), 0.0)
    return switches, table / table.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(6))
def test_the_limit_is_that_of_the_authors_script(seed):
    normal, reduce = stage_three(seed), stage_three(seed + 100)
    rows = {
        name: [[DARTS_OPERATIONS[column] for column in live(switches, edge)] for edge in range(14)]
        for name, (switches, _) in (("normal", normal), ("reduce", reduce))
    }
    space = DartsSpace(candidates=rows)
    tables = {"normal": torch.from_numpy(normal[1]), "reduce": torch.from_numpy(reduce[1])}
    counts = []
    for limit in range(8, -1, -1):
        found = LimitedSkips(limit)(space, tables)
        assert [tuple(edge) for edge in found.cells["normal"].edges] == slow_limit(*normal, limit)
        assert [tuple(edge) for edge in found.cells["reduce"].edges] == slow_limit(*reduce, 8)
        counts.append(sum(edge.operation == "skip_connect" for edge in found.cells["normal"].edges))
        assert counts[-1] <= limit
    assert counts[0] > 2  # there was something to limit


def test_what_a_stage_leaves_has_as_many_candidates_on_each_edge(tmp_path):
    module = PDARTS(INPUTS, SPACE, keep=5, optim=SearchOptim())
    fit(module, tmp_path, epochs=1, steps=1)
    for name in SPACE.cells:
        assert [len(columns) for columns in module.architecture.active(name)] == [5] * 5
    again = PDARTS(INPUTS, DartsSpace(2, 4, 2, candidates=left(module)), keep=3, optim=SearchOptim())
    fit(again, tmp_path / "again", epochs=1, steps=1)
    assert again.architecture.count_active() == 2 * 5 * 3
    for name, cell in SPACE.cells.items():
        for edge in range(len(cell.edges)):
            assert set(again.architecture.active(name)[edge]) < set(module.architecture.active(name)[edge])


def left(module):
    cells = module.architecture.cells
    return {
        name: [[cell.operations[column] for column in row] for row in module.architecture.active(name)]
        for name, cell in cells.items()
    }


def test_a_stage_that_would_keep_nothing_is_refused():
    with pytest.raises(ValueError, match=r"model\.keep must be at least 1 or null, not 0"):
        PDARTS(INPUTS, SPACE, keep=0)


def test_the_paper_is_the_default():
    with torch.device("meta"):
        module = PDARTS()
    assert len(module.network.cells) == 5
    assert module.deriver == LimitedSkips(2)
    assert module.optim.arch([torch.nn.Parameter(torch.ones(1))]).defaults["lr"] == 6e-4
    assert (module.optim.arch_from_epoch, module.optim.clip, module.optim.arch_clip) == (10, 5.0, 5.0)


def test_a_second_dropout_is_refused(tmp_path):
    module = PDARTS(INPUTS, SPACE, Constant(0.5), optim=SearchOptim())
    with pytest.raises(ValueError, match=r"Both model\.skip_dropout and the callback SkipDropout .*: leave one"):
        fit(module, tmp_path, callbacks=[SkipDropout(Constant(0.2))])
    trainer = fit(module, tmp_path, callbacks=[SkipDropout(Constant(0.5))])
    assert [type(each) for each in trainer.callbacks].count(SkipDropout) == 1


def test_the_dropout_of_the_method_is_put_in_once(tmp_path):
    module = PDARTS(INPUTS, SPACE, Constant(0.5), optim=SearchOptim())
    skips = [part for part in module.network.modules() if isinstance(part, DroppedSkip)]
    seen = []

    class Watch(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.extend(part for part in pl_module.network.modules() if isinstance(part, DroppedSkip))

    fit(module, tmp_path, callbacks=[Watch()])
    assert skips
    assert all(one is other for one, other in zip(skips, seen, strict=True))
