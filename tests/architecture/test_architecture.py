"""Architecture parameters, masks and the clock."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_nas.precision import _widest
from lit_nas.search.health import Health
from tests.support.meta_device import autocast_anywhere
from tests.support.tiny import INPUTS, TINY


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
    module.architecture.count_active()  # host data, which "meta" could not tell any more
    with autocast_anywhere(), WithoutFloat64():
        module.to("meta")
        images = torch.empty(4, INPUTS.channels, INPUTS.height, INPUTS.width, device="meta")
        loss = module.loss((images, torch.zeros(4, dtype=torch.int64, device="meta")))
        torch.autograd.grad(loss, list(module.architecture.parameters()))
        Health().watch([loss], 0)
    _widest.cache_clear()
    assert {value.dtype for value in module.architecture.clock.buffers()} == {torch.float32}


def test_the_clock_is_exact_elsewhere():
    module = TINY["DARTS-first-order"]().to("cpu")
    assert {value.dtype for value in module.architecture.clock.buffers()} == {torch.float64}
