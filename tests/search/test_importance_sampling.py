"""Importance weights against closed forms in float64."""

import math

import pytest
import torch

from lit_nas.clock import Moment
from lit_nas.schedules import Constant, Linear
from lit_nas.search import ImportanceSampling

NOW = Moment(0.0, 0.0)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_weights_are_those_of_the_likelihood():
    found = ImportanceSampling().shares(numbers(10, 11, 13), 1, NOW)
    torch.testing.assert_close(found, numbers(0.70538451, 0.25949646, 0.03511903), rtol=0, atol=1e-8)
    torch.testing.assert_close(ImportanceSampling().shares(numbers(110, 111, 113), 1, NOW), found)
    assert ImportanceSampling().shares(numbers(7.0), 64, NOW).tolist() == [1.0]
    torch.testing.assert_close(ImportanceSampling().shares(numbers(1.0, 1.1, 1.3), 10, NOW), found)  # the sum of images
    mean = ImportanceSampling(likelihood="mean").shares(numbers(1.0, 1.1, 1.3), 10, NOW)
    torch.testing.assert_close(mean, numbers(-1.0, -1.1, -1.3).softmax(0))
    float32 = torch.tensor([10.0, 11.0, 13.0])
    assert ImportanceSampling().shares(float32, 1, NOW).dtype == torch.float64


def test_the_temperature_makes_more_children_count():
    falling = ImportanceSampling(temperature=Linear(10.0, 1.0, "epoch"))
    sizes = []
    for epoch in (0.0, 5.0, 9.0):
        shares = falling.shares(numbers(10, 11, 13), 1, Moment(0.0, epoch, 10.0, 10.0))
        sizes.append(float(1 / shares.square().sum()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2.9
    at_batch = ImportanceSampling(temperature=Constant(64.0)).shares(numbers(1.0, 2.0), 64, NOW)
    torch.testing.assert_close(at_batch, ImportanceSampling(likelihood="mean").shares(numbers(1.0, 2.0), 64, NOW))


def test_a_cost_divides_the_weight_by_a_power_of_it():
    losses, costs, beta = numbers(1.0, 1.2, 0.9), numbers(100, 50, 400), 0.7
    found = ImportanceSampling(cost_power=Constant(beta)).shares(losses, 3, NOW, costs)
    powers = [math.exp(-3 * loss) * cost**-beta for loss, cost in zip(losses.tolist(), costs.tolist(), strict=True)]
    torch.testing.assert_close(found, numbers(*powers) / sum(powers))
    assert ImportanceSampling(cost_power=Constant(beta)).looks_at_cost
    assert not ImportanceSampling().looks_at_cost


def test_children_that_hardly_count_are_left_out_and_the_best_is_not():
    shares = numbers(0.9985, 0.001, 0.0005)
    assert ImportanceSampling().kept(shares).tolist() == [0.9985, 0.0, 0.0]
    assert ImportanceSampling(least=0.0).kept(shares).tolist() == shares.tolist()
    assert ImportanceSampling(least=0.9).kept(numbers(0.5, 0.3, 0.2)).tolist() == [0.5, 0.0, 0.0]


def test_the_number_of_samples_follows_the_entropy():
    assert ImportanceSampling().count(1000.0) == 16
    adaptive = ImportanceSampling(per_nat=0.25)
    assert [adaptive.count(entropy) for entropy in (0.0, 2 * 25.14, 14 * 4.0)] == [1, 13, 14]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, r"model\.sampling\.samples must be at least 1, not 0"),
        ({"per_nat": 0.0}, r"model\.sampling\.per_nat must be a positive number or null, not 0\.0"),
        ({"likelihood": "product"}, r"model\.sampling\.likelihood must be sum or mean, not 'product'"),
        ({"least": 1.0}, r"model\.sampling\.least must be in \[0, 1\), not 1\.0"),
        ({"cost": "latency"}, r"model\.sampling\.cost must be one of parameters, multiply_adds, op"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImportanceSampling(**arguments)


def test_the_gradient_of_the_marginal_likelihood_is_the_weighted_one():
    """Autograd through -logsumexp against the detached weights."""
    v = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    features = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    losses = (features * v).sin().sum(-1)  # of four children
    (whole,) = torch.autograd.grad(-(-5 * losses).logsumexp(0), v, retain_graph=True)
    shares = ImportanceSampling().shares(losses, 5, NOW)
    assert not shares.requires_grad
    (weighted,) = torch.autograd.grad((shares * 5 * losses).sum(), v)
    torch.testing.assert_close(whole, weighted, rtol=1e-10, atol=1e-10)
