"""Gumbel-softmax samples: their distribution, values and gradients against closed forms."""

import pytest
import torch

from lit_nas.clock import Moment
from lit_nas.relaxations import Best, GumbelSoftmax, Mean, Occasion, Softmax
from lit_nas.relaxations.draw import generator_of
from lit_nas.schedules import Constant, Linear

NOW = Moment(0.0, 0.0)


def drawn(relaxation, logits, *parts, mask=None):
    mask = torch.ones_like(logits, dtype=torch.bool) if mask is None else mask
    return relaxation.draw(logits.detach(), mask, NOW, Occasion((), "arch", generator_of(0, *parts))), mask


@pytest.mark.parametrize("temperature", [10.0, 0.1])
def test_candidates_are_drawn_as_often_as_they_are_probable(temperature):
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0], dtype=torch.float64)
    many = logits.expand(100_000, 4)
    draw, mask = drawn(GumbelSoftmax(Constant(temperature), hard=True), many)
    counts = torch.bincount(torch.tensor(draw.active).flatten(), minlength=4).double()
    expected = logits.softmax(0) * len(many)
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001
    torch.testing.assert_close(
        GumbelSoftmax(Constant(temperature)).probabilities(many[:1], mask[:1], NOW)[0], logits.softmax(0)
    )


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_hard_samples_have_the_value_of_one_and_the_gradient_of_soft_ones(temperature):
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    relaxation = GumbelSoftmax(Constant(temperature), hard=True)
    draw, mask = drawn(relaxation, logits)
    weights = relaxation.weights(logits, mask, NOW, draw)
    columns = torch.tensor(draw.active).flatten()
    assert torch.equal(weights.detach(), torch.nn.functional.one_hot(columns, 5).double())
    outputs = torch.arange(1.0, 7.0, dtype=torch.float64)  # of the executed candidate of each edge
    (found,) = torch.autograd.grad((weights[range(6), columns] * outputs).sum(), logits)
    p = ((logits.detach() + draw.numbers[0]) / temperature).softmax(-1)
    rows = torch.arange(6)
    chosen = p[rows, columns].unsqueeze(-1)
    delta = torch.nn.functional.one_hot(columns, 5)
    expected = outputs.unsqueeze(-1) * chosen * (delta - p) / temperature
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_soft_samples_execute_all_and_follow_the_temperature():
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for epoch, temperature in ((0.0, 1.0), (5.0, 0.5)):
        relaxation = GumbelSoftmax(Linear(1.0, 0.0, "epoch"))
        draw, mask = drawn(relaxation, logits)
        assert draw.active == (tuple(range(5)),) * 6
        found = relaxation.weights(logits, mask, Moment(0.0, epoch, 10.0, 10.0), draw)
        scaled = ((logits + draw.numbers[0]) / temperature).exp()
        torch.testing.assert_close(found, scaled / scaled.sum(-1, keepdim=True))


def test_pruned_candidates_are_never_drawn_and_do_not_change_other_edges():
    logits = torch.zeros(500, 4, dtype=torch.float64)
    relaxation = GumbelSoftmax(Constant(1.0), hard=True)
    mask = torch.ones(500, 4, dtype=torch.bool)
    mask[100:200, 2], mask[200:300] = False, False
    whole, pruned = drawn(relaxation, logits)[0].active, drawn(relaxation, logits, mask=mask)[0].active
    assert whole[:100] + whole[300:] == pruned[:100] + pruned[300:]
    assert all(2 not in columns and len(columns) == 1 for columns in pruned[100:200])
    assert pruned[200:300] == ((),) * 100
    weights = relaxation.weights(logits, mask, NOW, drawn(relaxation, logits, mask=mask)[0])
    assert weights.isfinite().all()
    assert not weights[200:300].any()


def test_draws_depend_on_their_occasion_alone():
    logits, relaxation = torch.zeros(50, 4, dtype=torch.float64), GumbelSoftmax(Constant(1.0), hard=True)
    before = torch.random.get_rng_state()
    first = drawn(relaxation, logits, 3, "arch", "normal", None)[0]
    assert torch.equal(torch.random.get_rng_state(), before)  # chance of the process is not used up
    torch.manual_seed(2)
    assert torch.equal(drawn(relaxation, logits, 3, "arch", "normal", None)[0].numbers, first.numbers)
    for parts in ((4, "arch", "normal", None), (3, "weights", "normal", None), (3, "arch", "normal", 0)):
        assert drawn(relaxation, logits, *parts)[0].active != first.active
    # on every machine: Python's own hash changes from process to process
    assert generator_of(7, 3, "arch", "normal", None).initial_seed() == 3388513107977002170


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"temperature of GumbelSoftmax must be positive, but is 0\.0 at epoch 0"):
        drawn(GumbelSoftmax(Constant(0.0)), torch.zeros(2, 3))


def test_evaluation_has_no_chance():
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    of = GumbelSoftmax(Constant(1.0), hard=True)
    expected = Softmax().probabilities(logits, mask, NOW)
    assert torch.equal(Mean(of).probabilities(logits, mask, NOW), expected)
    assert not Mean(of).samples
    draw = Best(of).draw(logits, mask, NOW, Occasion((), "weights", generator_of()))
    assert draw.active == ((1,), (0,))
    assert torch.equal(
        Best(of).weights(logits, mask, NOW, draw), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).double()
    )
