"""SGD that begins to average, and the sign by which it does."""

import copy

import pytest
import torch

from lit_nas.optim import AveragedSGD, non_monotone


def weights():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(3, 2, generator=generator).double()) for _ in range(2)]


def walk(optimizer, parameters, steps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(3, 2, generator=generator).double()
        optimizer.step()


def test_both_phases_are_those_of_torch():
    ours, theirs = weights(), weights()
    optimizer, plain = (
        AveragedSGD(ours, lr=0.25, weight_decay=0.01),
        torch.optim.SGD(theirs, lr=0.25, weight_decay=0.01),
    )
    for each, parameters in ((optimizer, ours), (plain, theirs)):
        walk(each, parameters, 4)
    assert not optimizer.averaging
    torch.testing.assert_close(optimizer.averages(ours), [each.detach() for each in ours])
    optimizer.start()
    averaged = torch.optim.ASGD(theirs, lr=0.25, lambd=0.0, t0=0, weight_decay=0.01)
    for steps in (1, 1, 1, 5):
        walk(optimizer, ours, steps, steps)
        walk(averaged, theirs, steps, steps)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
        expected = [averaged.state[each]["ax"] for each in theirs]
        # torch has 1 / n in float32
        torch.testing.assert_close(optimizer.averages(ours), expected, rtol=1e-6, atol=1e-8)
    assert optimizer.steps == 8


def test_its_state_continues():
    first = weights()
    optimizer = AveragedSGD(first, lr=0.3)
    optimizer.start()
    walk(optimizer, first, 3)
    second = copy.deepcopy(first)
    again = AveragedSGD(second, lr=9.0)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.averaging
    for each, parameters in ((optimizer, first), (again, second)):
        walk(each, parameters, 3, 7)
    torch.testing.assert_close(again.averages(second), optimizer.averages(first), rtol=0, atol=0)


def test_it_goes_back():
    parameters = weights()
    optimizer = AveragedSGD(parameters, lr=0.3)
    optimizer.start()
    walk(optimizer, parameters, 4)
    kept, steps = [each.clone() for each in optimizer.averages(parameters)], optimizer.steps
    walk(optimizer, parameters, 4)
    optimizer.restart(parameters, kept, steps)
    torch.testing.assert_close(optimizer.averages(parameters), kept)
    assert optimizer.steps == 4
    optimizer.stop()
    assert not optimizer.averaging
    assert optimizer.steps == 0
    with pytest.raises(ValueError, match="lr must not be negative"):
        AveragedSGD(parameters, lr=-1.0)


def test_the_sign_comes_exactly_after_the_ninth_epoch():
    stored: list[float] = []
    switched = []
    for epoch, loss in enumerate((5, 4, 3, 3.5, 3.6, 3.7, 3.8, 3.9, 3.9), 1):
        if non_monotone(stored, loss, 5):
            switched.append(epoch)
        stored.append(loss)
    assert switched == [9]
    assert non_monotone([3.0], 4.0, 0)
    assert not non_monotone([], 4.0, 0)
