"""A step of one path per edge costs what the network built with these paths only costs."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lit_nas.architecture import CellMixture
from lit_nas.edges import AuxiliarySkip, PartialChannels, PlainEdges
from lit_nas.engine import Fused, Reference
from lit_nas.held_memory import held_for_backward
from lit_nas.networks import SearchNetwork
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace
from lit_nas.specs import ImageSpec

KINDS = [PlainEdges(), PartialChannels(2), AuxiliarySkip()]
SPEC = ImageSpec(height=8, width=8)
DRAW = {"normal": (4, 0, 6, 1, 3), "reduce": (3, 5, 2, 7, 4)}
ENGINES = {
    "reference": Reference(),
    "single": Fused(batch_edges=False),
    "batched": Fused(batch_edges=True),
    "checkpoint": Fused(checkpoint=True),
}


class Count(TorchDispatchMode):
    """Counts operators."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


def network(engine, edges, draw=None):
    names = draw and {kind: [[DARTS_OPERATIONS[o]] for o in columns] for kind, columns in draw.items()}
    return SearchNetwork(DartsSpace(init_channels=4, num_cells=3, nodes=2, candidates=names), SPEC, engine, edges)


def loss(net, images):
    weights = torch.linspace(0.1, 0.9, 40).view(5, 8).requires_grad_()
    mixture = [CellMixture(weights, tuple((o,) for o in DRAW[kind])) for kind in net.types]
    return net(images, mixture).square().sum()


@pytest.mark.parametrize("edges", KINDS, ids=lambda edges: type(edges).__name__)
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_a_drawn_path_costs_what_the_path_alone_costs(engine, edges):
    images = torch.randn(4, 3, 8, 8)
    every, only = network(engine, edges), network(engine, edges, DRAW)
    kernels = []
    for net in (every, only):
        loss(net, images).backward()  # what is known of the candidates is found once
        net.zero_grad()
        with Count() as count:
            loss(net, images).backward()
        kernels.append(count.number)
    assert kernels[0] == kernels[1]
    held = [held_for_backward(lambda net=net: loss(net, images)) for net in (every, only)]
    assert held[0] == held[1]
    assert not only.load_state_dict(every.state_dict(), strict=False).missing_keys
    torch.testing.assert_close(loss(every, images), loss(only, images), rtol=0, atol=0)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_what_was_not_drawn_is_left_alone(engine):
    net = network(engine, PlainEdges())
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    loss(net, torch.randn(4, 3, 8, 8)).backward()
    drawn = {
        f"cells.{index}.edges.{edge}.operations.{DARTS_OPERATIONS[column]}."
        for index, kind in enumerate(net.types)
        for edge, column in enumerate(DRAW[kind])
    }
    for name, parameter in net.named_parameters():
        if ".operations." in name:
            assert (parameter.grad is not None) == name.startswith(tuple(drawn)), name
    for name, buffer in net.named_buffers():
        if ".operations." in name and not name.startswith(tuple(drawn)):
            assert torch.equal(buffer, before[name]), name
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
