"""Weights of edges: normalised by node, part of every weight, and absent where a method has none."""

import csv
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture
from lit_nas.callbacks import LogAlphas
from lit_nas.derivation import TopEdges
from lit_nas.engine import Fused, Reference
from lit_nas.networks import build_search_network
from lit_nas.relaxations import GumbelSoftmax, Relaxation, Softmax
from lit_nas.schedules import Constant, Linear
from lit_nas.search import ImageSearchModule, SearchOptim
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import changed, fit, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY, pair


@dataclass(frozen=True)
class Simplex(Relaxation):
    """Parameters that are probabilities themselves."""

    def probabilities(self, logits, mask, clock):
        return logits * mask

    def initial(self, mask):
        return mask / mask.sum(-1, keepdim=True).clamp(min=1)


class Weighted(ImageSearchModule):
    """First order with weights of edges."""

    def __init__(
        self, inputs: ImageSpec = INPUTS, space: DartsSpace = SPACE, edges: Relaxation = Softmax(),
        optim: SearchOptim = SearchOptim(),
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs, self.optim = inputs, optim
        self.network = build_search_network(space, inputs, Fused())
        self.architecture = Architecture(space, Softmax(), edges)

    def training_step(self, batch, batch_idx):
        self.step_levels(self.loss, batch)


def test_without_them_nothing_is_different():
    torch.manual_seed(3)
    plain = TINY["DARTS-first-order"]()
    names = list(plain.state_dict())
    assert not [name for name in names if "edge" in name and name.startswith("architecture")]
    assert [name for name, _ in plain.architecture.named_parameters()] == ["logits.normal", "logits.reduce"]
    assert plain.architecture.edge_probabilities() == {}
    assert all(cell.beside is None for cell in plain.architecture())
    torch.manual_seed(3)
    weighted = Weighted()
    for name, value in plain.state_dict().items():
        assert torch.equal(weighted.state_dict()[name], value), name
    assert set(weighted.state_dict()) - set(names) == {
        "architecture.edge_logits.normal", "architecture.edge_logits.reduce",
    }  # fmt: skip


@pytest.mark.parametrize("relaxation", [Softmax(), Simplex()])
def test_equal_edges_share_a_node(relaxation):
    architecture = Architecture(DartsSpace(), Softmax(), relaxation)
    expected = torch.cat([torch.full((n,), 1 / n) for n in (2, 3, 4, 5)])
    if isinstance(relaxation, Softmax):
        for logits in architecture.edge_logits.values():
            logits.data.zero_()
    for found in (architecture()[0].beside.detach(), architecture.edge_probabilities()["normal"].float()):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("space", [DartsSpace(), NasBench201Space()])
def test_they_are_a_softmax_over_the_edges_of_a_node(space):
    architecture = Architecture(space, Softmax(), Softmax()).double()
    cell, mixed = space.cells["normal"], architecture()[0]
    logits, alphas = architecture.edge_logits["normal"].detach(), architecture.logits["normal"].detach()
    logits.normal_()
    mixed = architecture()[0]
    for node in cell.targets:
        inbound = [edge for edge, (_, target) in enumerate(cell.edges) if target == node]
        expected = logits[inbound].softmax(0)
        torch.testing.assert_close(mixed.beside[inbound].detach(), expected)
        product = alphas[inbound].softmax(-1) * expected.unsqueeze(-1)
        torch.testing.assert_close(mixed.weights[inbound].detach(), product)
        torch.testing.assert_close(architecture.importance()["normal"][inbound], product)
        torch.testing.assert_close(architecture.probabilities()["normal"][inbound], alphas[inbound].softmax(-1))
        logits[inbound] += 3.0  # a softmax does not see it
        torch.testing.assert_close(architecture()[0].weights, mixed.weights)
    (gradient,) = torch.autograd.grad(mixed.weights[0].sum(), architecture.edge_logits["normal"])
    rivals = sum(target == cell.edges[0][1] for _, target in cell.edges)
    assert (gradient != 0).sum() == (rivals if rivals > 1 else 0)
    assert torch.autograd.gradcheck(
        lambda values: torch.func.functional_call(architecture, {"edge_logits.normal": values}, ())[0].weights,
        architecture.edge_logits["normal"].detach().clone().requires_grad_(),
    )


def test_an_edge_without_candidates_leaves_its_weight_to_the_others():
    architecture = Architecture(SPACE, Softmax(), Softmax())
    for logits in architecture.edge_logits.values():
        logits.data.zero_()
    keep = torch.ones(5, 8, dtype=torch.bool)
    keep[3] = False
    architecture.prune("normal", keep)
    mixture = dict(zip((position.cell for position in SPACE.layout), architecture(), strict=True))
    torch.testing.assert_close(mixture["normal"].beside.detach(), torch.tensor([1 / 2, 1 / 2, 1 / 2, 0, 1 / 2]))
    torch.testing.assert_close(mixture["reduce"].beside.detach()[2:], torch.full((3,), 1 / 3))


def test_a_drawn_edge_is_executed_alone():
    architecture = Architecture(SPACE, Softmax(), GumbelSoftmax(Constant(1.0), hard=True), evaluation="best")
    assert architecture.samples
    assert architecture.skips
    for training in (True, False):
        architecture.train(training)
        for mixed in architecture():
            executed = [edge for edge, columns in enumerate(mixed.active) if columns]
            assert [SPACE.cells["normal"].edges[edge][1] for edge in executed] == [2, 3]  # one for each node
            assert {len(mixed.active[edge]) for edge in executed} == {8 if training else 1}
            torch.testing.assert_close(mixed.beside[executed].detach(), torch.ones(2))
            torch.testing.assert_close(mixed.weights.detach()[executed].sum(-1), torch.ones(2))


@pytest.mark.parametrize("edges", [None, Softmax()])
def test_what_is_beside_follows_its_schedule(edges):
    architecture = Architecture(SPACE, Softmax(), edges, beside=Linear(1.0, 0.0))
    weights = torch.ones(5) if edges is None else architecture.edge_probabilities()["normal"].float()
    for epoch in (0, 1, 4):
        architecture.clock.start(4, 4)
        architecture.clock.set(epoch, epoch)
        torch.testing.assert_close(architecture()[0].beside.detach(), weights * (1 - epoch / 4))


@pytest.mark.parametrize("engine", [Fused(), Reference()])
def test_a_node_is_the_weighted_sum_of_its_edges(engine):
    module = Weighted().double()
    cell, states = module.network.cells[0], [torch.randn(2, 2, 8, 8, dtype=torch.float64) for _ in range(2)]
    architecture = module.architecture
    architecture.edge_logits["normal"].data.normal_()
    mixed = dict(zip(module.network.types, architecture(), strict=True))["normal"]
    (first, *_) = engine(cell, states, mixed)
    alphas, betas = architecture.probabilities()["normal"], architecture.edge_probabilities()["normal"]
    expected = sum(
        betas[edge] * alphas[edge, o] * operation(states[edge])
        for edge in range(2)
        for o, operation in enumerate(cell.edges[edge].operations.values())
    )
    torch.testing.assert_close(first, expected)


def test_a_search_moves_them_logs_them_and_derives_by_the_product(tmp_path):
    module = Weighted()
    module.deriver = TopEdges(k=1)
    before = snapshot(module)
    fit(module, tmp_path, epochs=2, callbacks=[LogAlphas()])
    assert len(changed(before, snapshot(module), "architecture.edge_logits")) == 2
    with (tmp_path / "edge_weights.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["epoch", "cell", "source", "target", "weight"]
    assert len(table) == 2 * 2 * 5
    last = {(row["cell"], int(row["source"]), int(row["target"])): float(row["weight"]) for row in table}
    for name, weights in module.architecture.edge_probabilities().items():
        for (source, target), weight in zip(SPACE.cells[name].edges, weights, strict=True):
            assert last[name, source, target] == float(weight)
    for name in SPACE.cells:
        module.architecture.logits[name].data.zero_()
        module.architecture.edge_logits[name].data.copy_(torch.tensor([0.0, 5.0, 0.0, 0.0, 5.0]))
    assert [(e.source, e.target) for e in module.derive().cells["normal"].edges] == [(1, 2), (2, 3)]


def test_they_have_a_gradient_and_an_optimiser():
    module = Weighted()
    module.loss(pair(0)).backward()
    for name, parameter in module.architecture.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert isinstance(module.architecture.edge_logits["normal"], nn.Parameter)
