"""Perturbations against the numbers of the paper, closed forms, and slow computations in float64."""

import math

import pytest
import torch

from lit_nas.clock import Moment
from lit_nas.perturbation import AdversarialSmoothing, Attack, CellWeights, RandomSmoothing, noise, to_simplex, uniform
from lit_nas.schedules import Constant

HERE = torch.tensor(0.1, dtype=torch.float64)


def cell(weights, mask=None, noise=None, competes=True):
    weights = torch.as_tensor(weights, dtype=torch.float64)
    mask = torch.ones_like(weights, dtype=torch.bool) if mask is None else torch.tensor(mask)
    return CellWeights(weights, mask, torch.zeros_like(weights) if noise is None else noise, competes)


def drawn(step, stream=0, seed=3, shape=(14, 8), dtype=torch.float64):
    return uniform(torch.tensor(seed), torch.tensor(float(step)), stream, shape, dtype)


def splitmix(number):
    """The finaliser as it is published, with numbers of Python."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


@pytest.mark.parametrize("seed", [0, 3, 2**62])
def test_noise_is_the_published_hash(seed):
    weyl = 0x9E3779B97F4A7C15
    for step, stream in ((0, 0), (7, 1), (123456, 5)):
        key = splitmix((splitmix((seed + (stream + 1) * weyl) % 2**64) + step) % 2**64)
        expected = [((splitmix((key + (i + 1) * weyl) % 2**64) >> 41) + 0.5) / 2**22 - 1 for i in range(6)]
        assert drawn(step, stream, seed, (2, 3)).flatten().tolist() == expected


def test_noise_is_uniform_and_new_in_each_step():
    every = torch.stack([drawn(step) for step in range(1000)])
    assert every.abs().max() < 1
    assert abs(every.mean()) < 5 * (1 / 3 / every.numel()) ** 0.5
    assert float(every.square().mean()) == pytest.approx(1 / 3, rel=0.01)
    flat = every.flatten(1)
    for other in (flat.roll(1, 0), flat.roll(1, 1), torch.stack([drawn(step, 1) for step in range(1000)]).flatten(1)):
        assert abs((flat * other).mean() * 3) < 5 / flat.numel() ** 0.5  # no correlation between steps, entries, cells
    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(5, seed=4))
    assert torch.equal(drawn(5, dtype=torch.float32).double(), drawn(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_reaches_neither_end(dtype, monkeypatch):
    """For the hashes with the least and the most bits set, which no short test draws."""
    for hashed, expected in ((0, -1 + 2**-23), (-1, 1 - 2**-23)):
        monkeypatch.setattr(noise, "_mixed", lambda number, hashed=hashed: torch.full_like(number, hashed))
        assert drawn(0, shape=(3,), dtype=dtype).tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("changed", "mask", "expected"),
    [
        ([-0.2, 0.9, 0.5], [True] * 3, [0, 0.9 / 1.4, 0.5 / 1.4]),
        ([-0.1, -0.3, -0.2], [True] * 3, [1, 0, 0]),  # nothing is left: the largest
        ([0.2, 0.3, 0.5], [True] * 3, [0.2, 0.3, 0.5]),
        ([0.9, -0.3, -0.2], [False, True, True], [0, 0, 1]),  # of those that are active
        ([0.9, 0.3, 0.2], [False] * 3, [0, 0, 0]),
        ([1.9, 0.0, 0.0], [True] * 3, [1, 0, 0]),
    ],
)
def test_simplex(changed, mask, expected):
    found = to_simplex(torch.tensor([changed], dtype=torch.float64), cell([[1 / 3] * 3], [mask]))
    assert found.tolist() == [pytest.approx(expected)]


def test_gates_that_do_not_compete_keep_to_their_interval():
    found = to_simplex(torch.tensor([[-0.2, 0.9, 1.5]], dtype=torch.float64), cell([[0.5] * 3], competes=False))
    assert found.tolist() == [[0, 0.9, 1]]


def test_epsilon_of_the_paper():
    for part in (RandomSmoothing(), AdversarialSmoothing()):
        for epoch, expected in ((0, 0.03), (25, 0.165), (25.7, 0.165), (49, 0.2946)):
            assert part.epsilon(Moment(0.0, epoch, 50.0, 50.0)) == pytest.approx(expected)


def test_random_smoothing_stays_within_epsilon_and_keeps_sums():
    weights = drawn(0).abs().softmax(-1)
    gates = cell(weights * 0.5 + 0.2, noise=drawn(1), competes=False)
    (found,) = RandomSmoothing()([gates], HERE, None)
    torch.testing.assert_close(found - gates.weights, 0.1 * gates.noise)
    (found,) = RandomSmoothing()([cell(weights, noise=drawn(1))], HERE, None)
    torch.testing.assert_close(found.sum(-1), torch.ones(14, dtype=torch.float64))
    assert (found >= 0).all()
    assert not torch.allclose(found, weights, atol=1e-3)


def test_random_smoothing_adds_the_trace_of_the_hessian():
    """E L(A + d) - L(A) = epsilon^2 / 6 tr H for L = A^T H A / 2 (section 4 of the paper)."""
    h = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    start, change = torch.full((40, 4), 0.5, dtype=torch.float64), 0.0
    for step in range(100):
        each = cell(start, noise=drawn(step, shape=(40, 4)), competes=False)
        (found,) = RandomSmoothing()([each], HERE, None)
        change += float(((found @ h * found - start @ h * start) / 2 - (found - start) @ h * start).sum())
    assert change / 4000 == pytest.approx(0.1**2 / 6 * 10, rel=0.03)


class Given(Attack):
    """A loss of one cell as a function, which notes what it was asked with."""

    def __init__(self, function):
        self.function, self.asked = function, []

    def loss(self, weights, statistics):
        self.asked.append(statistics)
        return self.function(weights[0]).detach()

    def gradient(self, weights, statistics):
        self.asked.append(statistics)
        leaf = weights[0].detach().requires_grad_()
        return list(torch.autograd.grad(self.function(leaf), leaf))


def slow_attack(weights, noise, slope, epsilon, steps):
    """Of a linear loss, entry by entry."""

    def simplex(row):
        row = [min(max(value, 0.0), 1.0) for value in row]
        return [value / sum(row) for value in row]

    now = simplex([w + epsilon * n for w, n in zip(weights, noise, strict=True)])
    for _ in range(steps):
        now = [v + 2 * epsilon / steps * ((c > 0) - (c < 0)) for v, c in zip(now, slope, strict=True)]
        now = simplex([w + min(max(v - w, -epsilon), epsilon) for w, v in zip(weights, now, strict=True)])
    return now


@pytest.mark.parametrize("steps", [1, 7])
def test_an_attack_on_a_linear_loss(steps):
    slope = torch.tensor([[1.0, -2.0, 0.0, 0.5]], dtype=torch.float64)
    given = cell([[0.1, 0.4, 0.2, 0.3]], noise=drawn(4, shape=(1, 4)))
    attack = Given(lambda weights: (weights * slope).sum())
    (found,) = AdversarialSmoothing(Constant(0.1), steps)([given], HERE, attack)
    expected = slow_attack(given.weights[0].tolist(), given.noise[0].tolist(), slope[0].tolist(), 0.1, steps)
    assert found[0].tolist() == pytest.approx(expected, abs=1e-12)
    assert attack.function(found) > attack.function(given.weights)
    assert attack.asked == ["running"] * (steps + 2)


def test_an_attack_beats_noise():
    slope = drawn(9, shape=(1, 4))
    attack, random = Given(lambda weights: (weights * slope).sum()), []
    for step in range(50):
        given = cell([[0.25] * 4], noise=drawn(step, shape=(1, 4)))
        (found,) = AdversarialSmoothing()([given], HERE, attack)
        random.append(float(attack.function(RandomSmoothing()([given], HERE, attack)[0])))
        assert float(attack.function(found)) > max(random) - 1e-12


def test_an_attack_that_fails_is_dropped():
    """The gradient points away: a loss that says one thing and has the slope of another."""

    class Liar(Given):
        def gradient(self, weights, statistics):
            return [-gradient for gradient in super().gradient(weights, statistics)]

    slope = drawn(9, shape=(1, 4))
    given = cell([[0.1, 0.4, 0.2, 0.3]])
    (found,) = AdversarialSmoothing()([given], HERE, Liar(lambda weights: (weights * slope).sum()))
    assert torch.equal(found, given.weights)


def test_gradients_that_overflow_move_nothing():
    slope = torch.tensor([[math.nan, 0.0, math.inf, -math.inf]], dtype=torch.float64)

    class Overflowing(Given):
        def gradient(self, weights, statistics):
            return [slope]

    given = cell([[0.25] * 4])
    (found,) = AdversarialSmoothing(steps=1)([given], HERE, Overflowing(lambda weights: weights[0, 2]))
    assert found.tolist() == [pytest.approx([0.25 / 1, 0.25, 0.35, 0.15])]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSmoothing(0.3), r"RandomSmoothing\.epsilon must be a schedule, for example Constant\(0\.03\)"),
        (lambda: AdversarialSmoothing(steps=0), r"AdversarialSmoothing\.steps must be at least 1, not 0"),
        (lambda: AdversarialSmoothing(statistics="none"), "AdversarialSmoothing.statistics must be running or batch"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
