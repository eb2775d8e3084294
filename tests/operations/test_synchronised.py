"""BatchNorm over several processes; that two of them equal one is tested in `tests/ddp`."""

import copy
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.plugins import TorchSyncBatchNorm
from torch import nn

from lit_nas.engine import Fused
from lit_nas.methods import DARTS
from lit_nas.operations import BatchNorm, SynchronisedBatchNorm, part_norms, synchronise_norms
from lit_nas.record.layer_sync import SynchroniseNorms, replace_layer_sync
from tests.support.meta_device import META, waits
from tests.support.tiny import INPUTS, SPACE


@pytest.fixture
def group():
    """A group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def norms(affine, tracked=True):
    plain = BatchNorm(3, affine).double()
    if affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    if not tracked:
        plain.untrack()
    other = copy.deepcopy(plain)
    synchronise_norms(other)
    return plain, other


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_one_process_is_plain_batch_norm(affine, tracked, training, group):
    plain, other = norms(affine, tracked)
    assert type(other) is SynchronisedBatchNorm
    x = 3 + torch.randn(4, 3, 5, 5, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    outs, gradients = [], []
    for norm in (plain, other):
        norm.train(training)
        outs.append(norm(x))
        gradients.append(torch.autograd.grad(outs[-1].square().sin().sum(), [x, *norm.parameters()]))
    torch.testing.assert_close(outs[1], outs[0])
    assert outs[1].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(other.state_dict(), plain.state_dict())


def test_it_can_be_differentiated_twice(group):
    _, norm = norms(affine=True)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_statistics_that_are_not_tracked_stay(group):
    _, norm = norms(affine=False)
    norm.track_running_stats = False
    norm(torch.randn(2, 3, 2, 2, dtype=torch.float64))
    assert torch.equal(norm.running_mean, torch.zeros(3, dtype=torch.float64))


def test_half_precision_keeps_its_type_and_statistics_their_own(group):
    norm = BatchNorm(3)
    expected = copy.deepcopy(norm)
    synchronise_norms(norm)
    x = (5 + torch.randn(16, 3, 4, 4)).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    expected(x.float())
    torch.testing.assert_close(norm.running_var, expected.running_var)
    torch.testing.assert_close(norm.running_mean, expected.running_mean)


def test_a_large_mean_does_not_swallow_the_variance(group):
    norm = BatchNorm(3, affine=False)
    synchronise_norms(norm)
    x = 1e3 + torch.randn(16, 3, 8, 8)
    expected = (x.double() - x.double().mean((0, 2, 3), keepdim=True)) / x.double().std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(norm(x).double(), expected, rtol=0, atol=2e-3)


def test_no_layer_waits_for_its_device(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    norm = BatchNorm(3).to(META)
    synchronise_norms(norm)
    with waits() as found:
        norm(torch.zeros(2, 3, 4, 4, device=META, requires_grad=True)).sum().backward()
    assert found == []


def test_modules_stay_the_same_objects_and_come_back():
    module = DARTS(INPUTS, SPACE)
    before, sync = list(module.modules()), SynchroniseNorms()
    assert sync.apply(module) is module
    assert any(type(each) is SynchronisedBatchNorm for each in before)
    assert not any(type(each) is BatchNorm for each in before)
    assert all(a is b for a, b in zip(before, module.modules(), strict=True))
    assert sync.revert(module) is module
    assert not any(type(each) is SynchronisedBatchNorm for each in before)
    part_norms(module)  # twice is as good


def test_what_cannot_be_synchronised_is_refused():
    with pytest.raises(ValueError, match=r"but 1 is a BatchNorm1d.*sync_batchnorm to false"):
        synchronise_norms(nn.Sequential(BatchNorm(3), nn.BatchNorm1d(3)))
    with pytest.raises(ValueError, match=r"sync_batchnorm and model\.engine\.compile exclude each other"):
        SynchroniseNorms().apply(DARTS(INPUTS, SPACE, engine=Fused(compile=True)))


def test_only_the_sync_of_lightning_is_replaced():
    own = SynchroniseNorms()
    for given, expected in ((TorchSyncBatchNorm(), SynchroniseNorms), (own, SynchroniseNorms), (None, type(None))):
        strategy = SimpleNamespace(_layer_sync=given)
        replace_layer_sync(strategy)
        assert type(strategy._layer_sync) is expected
    replace_layer_sync(SimpleNamespace())  # a strategy of one process has none
