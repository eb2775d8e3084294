"""REINFORCE: the gradient of a bandit, the baseline of the authors' code, and rewards by hand."""

import pytest
import torch
from torch.nn import functional as F

from lit_nas.optim import Baseline, Reinforce, score_gradient


def test_the_gradient_of_a_bandit():
    logits = torch.tensor([[0.4, -0.3]], dtype=torch.float64)
    p = logits.softmax(-1)
    generator, count = torch.Generator().manual_seed(0), 50_000
    arms = torch.multinomial(p[0], count, replacement=True, generator=generator)
    children = [{"cell": row} for row in F.one_hot(arms, 2).double().unsqueeze(1)]
    rewards = (arms == 0).double()
    (found,) = score_gradient(rewards, children, {"cell": p})
    expected = -float(p[0, 0] * p[0, 1]) * torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


def test_the_gradient_is_that_of_the_log_probabilities():
    torch.manual_seed(0)
    logits = {name: torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for name in ("normal", "reduce")}
    children = [{name: F.one_hot(torch.randint(4, (3,)), 4).double() for name in logits} for _ in range(5)]
    advantages = torch.randn(5, dtype=torch.float64)
    value = (
        -sum(
            advantage * sum((child[name] * logits[name].log_softmax(-1)).sum() for name in logits)
            for advantage, child in zip(advantages, children, strict=True)
        )
        / 5
    )
    expected = torch.autograd.grad(value, list(logits.values()))
    found = score_gradient(advantages, children, {name: each.detach().softmax(-1) for name, each in logits.items()})
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("decay", [0.99, 0.1])
def test_the_baseline_is_the_first_mean_and_then_moves_before_it_is_used(decay):
    baseline = Baseline(decay).double()
    first, second = torch.tensor([0.2, 0.6], dtype=torch.float64), torch.tensor([0.9, 0.5], dtype=torch.float64)
    torch.testing.assert_close(baseline(first), first - 0.4)
    torch.testing.assert_close(baseline(second), second - (0.4 + decay * 0.3))
    again = Baseline(decay).double()
    again.load_state_dict(baseline.state_dict())
    assert torch.equal(again(first), baseline(first))


def test_rewards_by_hand():
    accuracy, cost = torch.tensor(0.8), torch.tensor(160.0)
    assert Reinforce().reward(accuracy, None) is accuracy
    found = Reinforce(measure="parameters", reference=80.0).reward(accuracy, cost)
    torch.testing.assert_close(found, torch.tensor(0.8 * 0.5**0.1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, r"reinforce\.samples must be at least 1, not 0"),
        ({"decay": 0.0}, r"reinforce\.decay must be above 0 and at most 1, not 0\.0"),
        ({"measure": "parameters"}, "the measure parameters and the reference None: give both"),
        ({"reference": 3.0}, r"the measure None and the reference 3\.0: give both"),
        ({"measure": "parameters", "reference": -1.0}, r"reference must be a positive number, not -1\.0"),
        ({"exponent": -0.1}, r"exponent must not be negative, but is -0\.1"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Reinforce(**arguments)
