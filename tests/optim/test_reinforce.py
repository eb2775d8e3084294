"""REINFORCE: the baseline of the authors' code, and rewards by hand."""

import pytest
import torch

from lit_nas.optim import Baseline, Reinforce


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
    accuracies, costs = torch.tensor([0.8, 0.5]), torch.tensor([160.0, 80.0])
    assert Reinforce().rewards(accuracies, None) is accuracies
    found = Reinforce(measure="parameters", reference=80.0).rewards(accuracies, costs)
    torch.testing.assert_close(found, torch.tensor([0.8 * 0.5**0.1, 0.5]))


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
