"""Clipping the gradient of the architecture."""

import pytest
import torch

from lit_nas.methods import DARTS
from lit_nas.regularizers import ZeroOne
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, SPACE


class SGD(torch.optim.SGD):
    """Whose step is the gradient itself."""

    def __init__(self, params, lr: float = 1.0) -> None:
        super().__init__(params, lr=lr)


def step(tmp_path, **arguments):
    """What one step adds to the architecture, all parameters in a row."""
    torch.manual_seed(0)
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(arch=SGD, **arguments)).double()
    module.network.register_forward_pre_hook(lambda network, given: (given[0].double(), *given[1:]))
    before = torch.cat([value.detach().flatten() for value in module.architecture.parameters()])
    fit(module, tmp_path, steps=1)
    return torch.cat([value.detach().flatten() for value in module.architecture.parameters()]) - before


@pytest.mark.parametrize("more", [{}, {"regularizers": (ZeroOne(Constant(5.0)),)}, {"level": "single"}], ids=str)
def test_the_norm_of_the_whole_gradient_is_limited(more, tmp_path):
    free = step(tmp_path / "free", **more)
    norm = float(free.norm())
    clipped = step(tmp_path / "clipped", arch_clip=norm / 4, **more)
    torch.testing.assert_close(clipped, free / 4, rtol=1e-5, atol=1e-12)
    assert torch.equal(step(tmp_path / "wide", arch_clip=2 * norm, **more), free)


def test_each_entry_is_limited_instead(tmp_path):
    free = step(tmp_path / "free")
    largest = float(free.abs().median())
    clipped = step(tmp_path / "clipped", arch_clip=largest, clip_by="value")
    torch.testing.assert_close(clipped, free.clamp(-largest, largest), rtol=1e-5, atol=1e-12)
    assert not torch.equal(clipped, free)


def test_a_negative_norm_is_refused():
    with pytest.raises(ValueError, match=r"model\.optim\.arch_clip must not be negative, but is -1"):
        SearchOptim(arch_clip=-1.0)
