"""Alpha-entmax: closed forms, thresholds, gradients, masks, schedules."""

import pytest
import torch
from entmax import entmax_bisect

from lit_nas.clock import Clock, Moment
from lit_nas.relaxations import Entmax, Sigmoid, Softmax
from tests.support.meta_device import META, waits

HALF = Moment(5.0, torch.tensor(0.5, dtype=torch.float64))
ALPHAS = pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7, 2.0, 3.0, 4.0])


def weights(relaxation, z, mask=None, clock=HALF):
    z = torch.as_tensor(z, dtype=torch.float64)
    return relaxation.probabilities(z, torch.ones_like(z, dtype=torch.bool) if mask is None else mask, clock)


@pytest.mark.parametrize(
    ("alpha", "logits", "expected"),
    [
        (1.0, [-2.0, 0.0, 0.5], [0.0486, 0.3592, 0.5922]),
        (1.5, [-2.0, 0.0, 0.5], [0.0, 0.3260, 0.6740]),
        (2.0, [-2.0, 0.0, 0.5], [0.0, 0.25, 0.75]),
        (3.0, [-2.0, 0.0, 0.5], [0.0, 0.0, 1.0]),
        (2.0, [0.1, 0.0, -0.1], [0.4333, 0.3333, 0.2333]),
        (3.0, [0.1, 0.0, -0.1], [0.6, 0.4, 0.0]),
    ],
)
def test_worked_examples(alpha, logits, expected):
    found = weights(Entmax(alpha), [logits])
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=5e-5)
    assert torch.equal(found == 0, torch.tensor([expected]) == 0)  # zeros are exact


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.3, 0.49, 0.51, 0.99, 1.01])
def test_two_candidates_have_closed_forms(gap):
    for alpha, slope in ((2.0, 1.0), (3.0, 2.0)):
        larger = min(1.0, (1 + slope * gap) / 2)
        expected = torch.tensor([[larger, 1 - larger]], dtype=torch.float64)
        torch.testing.assert_close(weights(Entmax(alpha), [[gap, 0.0]]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("candidates", [2, 3, 5, 8])
def test_the_gap_that_prunes(alpha, candidates):
    gap = (candidates - 1) ** (1 - alpha) / (alpha - 1)
    for factor, alive in ((0.999, True), (1.001, False)):
        z = torch.zeros(1, candidates, dtype=torch.float64)
        z[0, 0] = -factor * gap
        assert (weights(Entmax(alpha), z)[0, 0] > 0) == alive


@ALPHAS
def test_properties(alpha):
    torch.manual_seed(0)
    z = 0.3 * torch.randn(50, 8, dtype=torch.float64)
    p = weights(Entmax(alpha), z)
    torch.testing.assert_close(p.sum(-1), torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(weights(Entmax(alpha), z + 7), p, rtol=0, atol=1e-9)
    order = z.argsort(-1)
    assert (p.gather(-1, order).diff(dim=-1) >= -1e-12).all()
    solution = (alpha - 1) * z - p.clamp_min(1e-300) ** (alpha - 1)  # tau wherever p > 0
    if alpha > 1:
        for row, taus in zip(p, solution, strict=True):
            assert taus[row > 0].std(unbiased=False) < 1e-6


@pytest.mark.parametrize("alpha", [1.1, 1.7, 2.5, 3.0, 4.0, 8.0])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 10.0])
def test_bisection_finds_what_the_package_finds(alpha, scale):
    generator = torch.Generator().manual_seed(0)
    z = scale * torch.randn(500, 8, dtype=torch.float64, generator=generator)
    mask = torch.rand(500, 8, generator=generator) > 0.2
    mask[:, 0] = True
    expected = entmax_bisect(z.masked_fill(~mask, float("-inf")), alpha)
    for relaxation in (Entmax(alpha), Entmax(2 * alpha - 1, start=1.0)):  # constant, and half-way there
        found = weights(relaxation, z, mask)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert torch.equal(found > 0, expected > 0)


@pytest.mark.parametrize(
    "relaxation", [*map(Entmax, [1.0, 1.5, 1.7, 2.0, 3.0]), Entmax(3.0, 1.0), Entmax(3.0, 1.0, 4), Softmax(), Sigmoid()]
)
def test_no_number_passes_between_host_and_device(relaxation):
    z = torch.zeros(3, 4, device=META, requires_grad=True)
    mask, clock = torch.ones(3, 4, device=META, dtype=torch.bool), Clock().to(META)
    with waits() as found:
        (first,) = torch.autograd.grad(relaxation.probabilities(z, mask, clock).sum(), z, create_graph=True)
        torch.autograd.grad(first.sum(), z)
    assert found == []


def test_near_one_is_softmax():
    z = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = z.softmax(-1)
    torch.testing.assert_close(weights(Entmax(1.0), z), expected)
    torch.testing.assert_close(weights(Entmax(1.0 + 1e-5), z), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights(Entmax(1.0), z), weights(Softmax(), z))


@ALPHAS
@pytest.mark.parametrize("relaxation", [lambda a: Entmax(a), lambda a: Entmax(2 * a - 1, start=1.0)])
def test_gradients_of_both_orders(alpha, relaxation):
    mask = torch.tensor([[True] * 4, [True, False, True, True], [False] * 4])
    for seed in range(3):
        z = 0.3 * torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        z.requires_grad_()

        def function(values):
            return relaxation(alpha).probabilities(values, mask, HALF)

        assert torch.autograd.gradcheck(function, z)
        assert torch.autograd.gradgradcheck(function, z)
        rows = torch.autograd.functional.jacobian(function, z)[1, :, 1]
        torch.testing.assert_close(rows.sum(-1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-9)


@ALPHAS
def test_dead_candidates_do_not_count(alpha):
    z = 0.1 * torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.rand(5, 8, generator=torch.Generator().manual_seed(2)) > 0.4
    mask[4] = False
    found = weights(Entmax(alpha), z, mask)
    for row, value, alive in zip(found[:4], z, mask, strict=False):
        assert torch.equal(row[~alive], torch.zeros_like(row[~alive]))
        torch.testing.assert_close(row[alive], weights(Entmax(alpha), value[alive][None])[0], rtol=0, atol=1e-12)
    assert torch.equal(found[4], torch.zeros(8, dtype=torch.float64))
    sparse = weights(Entmax(alpha), z)
    torch.testing.assert_close(weights(Entmax(alpha), z, sparse > 0), sparse, rtol=0, atol=1e-12)


def test_small_logits_keep_all_and_larger_ones_do_not():
    z = torch.randn(500, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (weights(Entmax(3.0), 1e-3 * z) > 0).all()
    assert 0.08 < (weights(Entmax(3.0), 1e-2 * z) == 0).double().mean() < 0.2


def test_schedules():
    points = torch.tensor([0.0, 0.19, 0.2, 0.5, 0.99, 1.0])
    linear, stairs = Entmax(3.0, start=1.0), Entmax(3.0, start=1.0, stairs=5)
    found = [[float(r.sparsity(Moment(0.0, p))) for p in points] for r in (linear, stairs, Entmax(2.0))]
    assert found[0] == pytest.approx([1.0, 1.38, 1.4, 2.0, 2.98, 3.0])
    assert found[1] == pytest.approx([1.0, 1.0, 1.5, 2.0, 3.0, 3.0])
    assert found[2] == [2.0] * 6
    z = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for progress, alpha in ((0.0, 1.0), (0.5, 2.0), (1.0, 3.0)):
        at = weights(linear, z, clock=Moment(0.0, torch.tensor(progress)))
        torch.testing.assert_close(at, weights(Entmax(alpha), z), rtol=0, atol=1e-9)


def test_half_precision_does_not_reach_the_formula():
    z = 1e-3 * torch.randn(14, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = Entmax(3.0).probabilities(z, torch.ones_like(z, dtype=torch.bool), HALF)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside.double(), weights(Entmax(3.0), z), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "arguments", [{"alpha": 0.5}, {"alpha": 2.0, "start": 0.0}, {"stairs": 3}, {"start": 1.0, "stairs": 1}]
)
def test_numbers_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"relaxation\.(alpha|start|stairs) of Entmax"):
        Entmax(**arguments)


def test_sigmoid_does_not_compete():
    z = torch.tensor([[0.0, 2.0], [-1.0, 1.0]])
    mask = torch.tensor([[True, True], [False, True]])
    found = Sigmoid().probabilities(z, mask, HALF)
    assert found[0, 0] == 0.5
    assert found[1, 0] == 0
    torch.testing.assert_close(found[:, 1], 1 / (1 + torch.exp(-z[:, 1])))
