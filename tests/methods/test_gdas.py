"""GDAS: its samples, both of its gradients, its derivation, its order, and the numbers of its configurations."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture, Unselected
from lit_nas.clock import Moment
from lit_nas.derivation import TopEdges, TopPairs
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import load_genotype
from lit_nas.methods import GDAS
from lit_nas.networks import EvaluationNetwork, count_weights
from lit_nas.relaxations import Draw, Entmax, GumbelSoftmax
from lit_nas.schedules import Constant, Linear
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace, NasBench201Space
from tests.methods.test_contract import fit
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair

PAPER = {  # section 4.2 of the paper, and the configurations of the authors
    **{key: value for key, value in DARTS_SEARCH.items() if key != "model.space"},
    "trainer.max_epochs": 250,
    "model.relaxation": (
        "GumbelSoftmax",
        {
            "temperature": {
                "class_path": "lit_nas.Linear",
                "init_args": {"start": 10.0, "end": 0.1, "every": "epoch", "inclusive": True, "epochs": None},
            },
            "hard": True,
            "per_cell": False,
        },
    ),
    "model.constant_unselected": False,
    "model.optim.weights": ("DartsSGD", {"lr": 0.025, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}),
    "model.optim.schedule_every": "step",
    "data": ("CIFAR10DataModule", {"batch_size": 256, "split": "half", "split_seed": 0}),
}
BENCHMARK = ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False})
EXPECTED = {
    "search/gdas.yaml": {
        **PAPER,
        "model.space": ("GDASSpace", {"init_channels": 16, "normal_cells": 2, "nodes": 4, "fixed_reduction": False}),
    },
    "search/gdas_frc.yaml": {
        **PAPER,
        "model.space": ("GDASSpace", {"init_channels": 16, "normal_cells": 2, "nodes": 4, "fixed_reduction": True}),
    },
    "search/gdas_nas_bench_201.yaml": {
        **PAPER,
        "model.space": BENCHMARK,
        "model.constant_unselected": True,
        "data": ("CIFAR10DataModule", {"batch_size": 64, "split": "half", "split_seed": 0}),
    },
    "search/gdas.yaml + layers/space/nas_bench_201.yaml": {**PAPER, "model.space": BENCHMARK},
}


@pytest.mark.parametrize(("epoch", "temperature"), [(0, 10.0), (124, 5.0699), (249, 0.1)])
def test_the_temperature_falls_in_equal_parts(epoch, temperature):
    schedule = GDAS(INPUTS, SPACE).architecture.relaxation.temperature
    for part in (0.0, 0.9):  # it is that of the epoch
        now = Moment((epoch + part) * 100.0, epoch + part, 25_000.0, 250.0)
        assert schedule(now) == pytest.approx(temperature, abs=1e-4)


@pytest.mark.parametrize("space", [DartsSpace(init_channels=2, num_cells=3), NasBench201Space(2, 1)])
def test_one_operation_of_each_edge_is_called(space):
    module, calls = GDAS(INPUTS, space, engine=Reference()), []
    for cell in module.network.cells:
        for edge in getattr(cell, "edges", ()):
            for operation in edge.operations.values():
                operation.register_forward_hook(lambda *_: calls.append(1))
    module.loss(pair(0))
    assert len(calls) == len(space.layout) * len(space.cells["normal"].edges)


def sample(module):
    """Values of a step: for each cell type logits, noise, and what was sampled, [E, O]."""
    architecture, found = module.architecture, {}
    draws = architecture._draws
    for name in architecture.cells:
        noise, chosen = draws.find("operations", architecture.relaxation, name, 0).numbers
        found[name] = architecture.logits[name].detach(), noise, chosen
    return found


@pytest.mark.parametrize("temperature", [10.0, 1.0])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(checkpoint=True)])
@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201])
def test_gradients_are_the_formulas_of_the_paper(space, engine, constant, temperature):
    """With S, the gradient of the loss by the weight of each operation: (p_i / T) (S_i - sum of p S)."""
    torch.manual_seed(4)
    relaxation = GumbelSoftmax(Constant(temperature), hard=True)
    module = GDAS(INPUTS, space, relaxation, constant_unselected=constant, engine=engine).double()
    images, labels = pair(0)
    images = images.double()
    with module.architecture.drawing("arch"):
        loss = module.loss((images, labels))
        found = torch.autograd.grad(loss, list(module.architecture.parameters()))
        samples = sample(module)
    # by hand: each operation that was sampled times a number, plus a number for all others of its edge
    other = GDAS(INPUTS, space, relaxation, engine=Reference()).double()
    other.network.load_state_dict(module.network.state_dict())
    numbers = {name: torch.zeros_like(chosen) for name, (_, _, chosen) in samples.items()}
    leaves = {name: (chosen + value).requires_grad_() for (name, value), (_, _, chosen) in
              zip(numbers.items(), samples.values(), strict=True)}  # fmt: skip
    wanted = F.cross_entropy(by_hand(other.network, images, leaves, samples, constant), labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    for gradient, (name, leaf) in zip(found, leaves.items(), strict=True):
        (s,) = torch.autograd.grad(wanted, leaf, retain_graph=True)
        logits, noise, _ = samples[name]
        p = ((logits.log_softmax(-1) + noise) / temperature).softmax(-1)
        expected = p * (s - (p * s).sum(-1, keepdim=True)) / temperature
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-13)
        assert float(gradient.sum(-1).abs().max()) < 1e-12
        if constant:
            assert (gradient != 0).any(-1).all()


def by_hand(network, images, leaves, samples, constant):
    """The network of a sample, as the loops of the authors compute it."""

    def nodes(cell, states):
        name, inputs = cell.space.name, len(states)
        for target in cell.space.targets:
            total = 0
            for edge, (source, end) in enumerate(cell.space.edges):
                if end == target:
                    column = int(samples[name][2][edge].argmax())
                    operation = cell.edges[edge].operations[cell.space.operations[column]]
                    total = total + leaves[name][edge, column] * operation(states[source])
                    if constant:
                        row = leaves[name][edge]
                        total = total + row[:column].sum() + row[column + 1 :].sum()
            states = [*states, total]
        return states[inputs:]

    x = network.stem(images)
    before = last = x
    for cell in network.cells:
        if not hasattr(cell, "space"):
            last = cell(last)
        elif hasattr(cell, "inputs"):
            before, last = last, torch.cat(nodes(cell, cell.inputs(before, last)), 1)
        else:
            last = nodes(cell, [last])[-1]
    head = getattr(network, "head", None)
    return network.classifier(last.mean((2, 3)) if head is None else head(last))


def test_what_was_not_sampled_is_a_constant_of_value_zero():
    factor = Unselected()
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    soft = logits.softmax(-1)
    hard = F.one_hot(torch.tensor([1, 3, 0]), 4).double()
    value = factor(hard + (soft - soft.detach()), True)
    assert torch.equal(value.detach(), torch.zeros(3, dtype=torch.float64))
    (found,) = torch.autograd.grad(value.sum(), logits, retain_graph=True)
    (wanted,) = torch.autograd.grad((soft * (1 - hard)).sum(), logits)
    torch.testing.assert_close(found, wanted)
    assert not factor(soft, False).requires_grad
    architecture = Architecture(SPACE, GumbelSoftmax(Constant(1.0), True), beside=factor, evaluation="best").eval()
    assert not any(cell.beside.any() for cell in architecture())


def test_a_low_temperature_is_nearly_sure():
    """A gap of 0.5 at the temperature 0.1, with eight candidates."""
    noise = torch.tensor([[0.5, *[0.0] * 7]], dtype=torch.float64)
    mask, draw = torch.ones(1, 8, dtype=torch.bool), Draw((tuple(range(8)),), noise.unsqueeze(0))
    soft = GumbelSoftmax(Constant(0.1)).weights(torch.zeros_like(noise), mask, Moment(0.0, 0.0), draw)
    assert float(soft.max()) == pytest.approx(1 / (1 + 7 * math.exp(-5)), rel=1e-12)


def test_weights_move_before_the_architecture(tmp_path):
    module, seen = GDAS(INPUTS, SPACE), []
    for verb in ("step_weights", "step_arch"):
        step = getattr(module, verb)
        setattr(module, verb, lambda *given, verb=verb, step=step: (seen.append(verb), step(*given))[1])
    fit(module, tmp_path, steps=2)
    assert seen == ["step_weights", "step_arch"] * 2


def test_the_learning_rate_falls_with_every_step(tmp_path):
    module, rates = GDAS(INPUTS, SPACE, optim=SearchOptim(schedule_every="step")), []
    loss = module.loss
    module.loss = lambda *given: (rates.append(module.trainer.optimizers[0].param_groups[0]["lr"]), loss(*given))[1]
    fit(module, tmp_path, epochs=2, steps=3)
    expected = [0.001 + 0.024 * (1 + torch.tensor(torch.pi * step / 6).cos().item()) / 2 for step in range(6)]
    assert rates[::2] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"model\.optim\.schedule_every must be epoch or step, not 'batch'"):
        SearchOptim(schedule_every="batch")


def test_the_best_pairs_of_a_node_may_be_on_one_edge():
    space = DartsSpace(init_channels=2, num_cells=3)
    table = torch.full((14, 8), 0.01)
    table[:, 0] = 0.9  # none is never chosen
    table[1, 4], table[1, 2], table[0, 3] = 0.5, 0.4, 0.3
    tables = {"normal": table, "reduce": table}
    parallel = TopPairs()(space, tables).cells["normal"].inbound(2)
    assert [(edge.operation, edge.source) for edge in parallel] == [("sep_conv_3x3", 1), ("avg_pool_3x3", 1)]
    apart = TopPairs(distinct_edges=True)(space, tables)
    assert [edge.source for edge in apart.cells["normal"].inbound(2)] == [1, 0]
    for seed in range(5):
        tables = {name: torch.rand(14, 8, generator=torch.Generator().manual_seed(seed)) for name in tables}
        assert TopPairs(distinct_edges=True)(space, tables).cells == TopEdges()(space, tables).cells
        for node in range(2, 6):
            edges = [edge for edge, (_, target) in enumerate(space.cells["normal"].edges) if target == node]
            rows = [(float(tables["normal"][edge, o]), edge, o) for edge in edges for o in range(1, 8)]
            wanted = [(space.operations[o], edge - edges[0]) for _, edge, o in sorted(rows, reverse=True)[:2]]
            found = TopPairs()(space, tables).cells["normal"].inbound(node)
            assert [(edge.operation, edge.source) for edge in found] == wanted
    masks = {name: torch.zeros(14, 8, dtype=torch.bool) for name in tables}
    masks["normal"][5, 3] = masks["reduce"][0, 1] = True  # an edge of the fourth state alone, which reads the first
    assert TopPairs()(space, tables, masks).cells["normal"].edges == (("skip_connect", 0, 4),)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"k": 0}, r"TopPairs\.k \(model\.deriver\.k\) must be at least 1, not 0"),
    ({"exclude": ("conv",)}, r"TopPairs\.exclude"),
])  # fmt: skip
def test_a_wrong_rule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TopPairs(**arguments)


@pytest.mark.parametrize(("name", "weights"), [("GDAS_V1", 3_368_782), ("GDAS_F1", 2_543_014)])
def test_weight_counts_of_the_published_cells(name, weights):
    with torch.device("meta"):
        network = EvaluationNetwork(load_genotype(name), auxiliary=False)
    assert count_weights(network) == weights


@pytest.mark.parametrize("relaxation", [Entmax(), GumbelSoftmax(Linear(10.0, 0.1, "epoch"))])
def test_what_does_not_sample_one_operation_is_refused(relaxation):
    with pytest.raises(ValueError, match=r"GDAS samples one operation of each edge, but model\.relaxation is .* hard"):
        GDAS(INPUTS, SPACE, relaxation)


def test_it_validates_the_most_probable_operations():
    module = copy.deepcopy(GDAS(INPUTS, SPACE)).eval()
    for logits in module.architecture.parameters():
        logits.data.normal_()
    for position, cell in zip(SPACE.layout, module.architecture(), strict=True):
        best = module.architecture.logits[position.cell].argmax(-1)
        assert cell.active == tuple((int(column),) for column in best)
