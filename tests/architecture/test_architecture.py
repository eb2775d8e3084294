"""Architecture parameters, masks and the clock."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_nas.architecture import Architecture
from lit_nas.engine import Fused, Reference
from lit_nas.networks import build_search_network
from lit_nas.precision import _widest
from lit_nas.relaxations import Softmax
from lit_nas.search import DroppedSkip
from tests.support.meta_device import autocast_anywhere
from tests.support.tiny import INPUTS, STAGED, TINY


class WithoutFloat64(TorchDispatchMode):
    """The meta device as one that has no float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.device.type == "meta" and value.dtype == torch.float64:
                raise TypeError("Cannot convert a tensor to float64: the device does not have it.")
        return result


@pytest.mark.parametrize("name", TINY)
def test_a_device_without_float64_is_enough(name):
    _widest.cache_clear()
    module = TINY[name]()
    module.architecture.eval()  # draws look at parameters
    module.architecture.evaluation = "mean"
    module.architecture.count_active()  # host data, which "meta" could not tell any more, like the seed and the time
    assert module.architecture.host_seed >= 0
    module.architecture.clock.moment()
    for dropout in module.network.modules():
        if isinstance(dropout, DroppedSkip):
            dropout.eval()  # its generator is one of the device
    with autocast_anywhere(), WithoutFloat64():
        module.to("meta")
        images = torch.empty(4, INPUTS.channels, INPUTS.height, INPUTS.width, device="meta")
        loss = module.loss((images, torch.zeros(4, dtype=torch.int64, device="meta")))
        torch.autograd.grad(loss, list(module.architecture.parameters()))
        module.health.watch([loss], 0)
    _widest.cache_clear()
    assert {value.dtype for value in module.architecture.clock.buffers()} == {torch.float32}


def test_the_clock_is_exact_elsewhere():
    module = TINY["DARTS-first-order"]().to("cpu")
    assert {value.dtype for value in module.architecture.clock.buffers()} == {torch.float64}


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_only_the_candidates_of_an_edge_exist(engine):
    architecture, network = Architecture(STAGED, Softmax()), build_search_network(STAGED, INPUTS, engine)
    for cell, name in zip(network.cells, network.types, strict=True):
        space = STAGED.cells[name]
        assert [tuple(edge.operations) for edge in cell.edges] == [space.names(e) for e in range(len(space.edges))]
        assert architecture.active(name) == space.allowed
        assert architecture.logits[name].shape == (5, 8)
        probabilities = architecture.probabilities()[name]
        assert not probabilities[~architecture.mask(name)].any()
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(5, dtype=torch.float64))
    assert architecture.count_active() == 13 + 5 * 8
    loss = nn.functional.cross_entropy(network(torch.randn(2, 2, 8, 8), architecture()), torch.tensor([0, 1]))
    gradient = torch.autograd.grad(loss, list(architecture.parameters()))[0]
    assert torch.equal(gradient != 0, architecture.mask("normal") & (gradient != 0))


def test_what_an_edge_never_had_is_not_pruned():
    architecture = Architecture(STAGED, Softmax())
    assert not architecture.pruned
    keep = torch.ones(5, 8, dtype=torch.bool)
    keep[2] = False
    architecture.prune("normal", keep)
    assert architecture.pruned
    assert architecture.active("normal")[2] == ()
