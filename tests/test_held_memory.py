"""Steps leave nothing behind, and what a loss holds is counted right."""

import gc

import pytest
import torch
from torch.nn import functional as F

from lit_nas.held_memory import WatchHeld, held_for_backward
from lit_nas.optim import DartsSGD, frozen_statistics, unrolled_gradient
from tests.support.tiny import TINY, pair


def bytes_in_use() -> int:
    """Of all tensors that exist, each storage once."""
    gc.collect()
    storages = {}
    for item in gc.get_objects():
        if type(item) in (torch.Tensor, torch.nn.Parameter):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("product", ["finite_difference", pytest.param("exact", marks=pytest.mark.slow)])
def test_second_order_steps_leave_no_growth(product):
    module = TINY["DARTS-second-order"]()
    weights, logits = list(module.network.parameters()), list(module.architecture.parameters())
    optimizer = DartsSGD(weights)

    def step():
        with frozen_statistics(module.network.modules()):
            unrolled_gradient(
                lambda: [module.loss(pair(0))], lambda: [module.loss(pair(1))], weights, logits, optimizer, product
            )
        optimizer.zero_grad()
        module.loss(pair(1)).backward()
        optimizer.step()

    step()
    before = bytes_in_use()
    for _ in range(8):
        step()
    assert bytes_in_use() == before


def test_held_bytes_of_a_product_and_a_shared_factor():
    x = torch.randn(10, 10, requires_grad=True)
    y = torch.randn(10, 10, requires_grad=True)
    assert held_for_backward(lambda: (x * y).sum()) == 2 * 400
    assert held_for_backward(lambda: (x * y + x * 2).sum()) == 2 * 400
    assert held_for_backward(lambda: F.relu(x).sum()) == 400
    with torch.no_grad():
        assert held_for_backward(lambda: (x * y).sum()) == 0


def test_the_watch_sees_the_passes_that_happen():
    module = torch.nn.Linear(10, 10, bias=False)
    x = torch.randn(5, 10, requires_grad=True)
    watch = WatchHeld(module)
    module(x[:3])
    gradient = torch.autograd.grad(module(x).square().sum(), x)[0]
    module(x[:1])
    assert watch.stop() == 400 + 200  # the weight and the larger batch
    assert torch.equal(gradient, torch.autograd.grad(module(x).square().sum(), x)[0])
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    assert WatchHeld(module).stop() is None
    watch = WatchHeld(module)
    with pytest.raises(RuntimeError):
        module(x[:, :3])
    watch.stop()
    assert held_for_backward(lambda: module(x).sum()) == 600  # and that watch's own of the failed pass have ended
