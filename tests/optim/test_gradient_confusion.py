"""Gradient confusion against closed forms and an explicit loop."""

import pytest
import torch

from lit_nas.optim import Confusion, GradientConfusion, gradient_confusion


def test_opposite_and_equal_gradients():
    gradient = torch.tensor([3.0, -4.0, 12.0])
    assert gradient_confusion(torch.stack([gradient, -gradient])) == 169.0
    assert gradient_confusion(torch.stack([gradient, gradient])) == -169.0


def test_a_small_gradient_does_not_confuse_itself():
    """Over all i and j the maximum would be -0.01, that of the second one with itself."""
    gradients = torch.tensor([[1.0, 0.0], [0.1, 0.0]], dtype=torch.float64)
    assert gradient_confusion(gradients) == pytest.approx(-0.1)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_computation_and_scales_with_the_square_of_the_loss(seed):
    gradients = torch.randn(5, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    slow = max(
        -sum(float(a) * float(b) for a, b in zip(gradients[i], gradients[j], strict=True))
        for i in range(5)
        for j in range(5)
        if i != j
    )
    assert gradient_confusion(gradients) == pytest.approx(slow, rel=1e-12)
    assert gradient_confusion(3 * gradients) == pytest.approx(9 * slow, rel=1e-12)


def test_an_estimate_is_the_mean_of_draws_over_the_number_of_weights():
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([2.0, -2.0])
    found = GradientConfusion(draws=2, batches=2).estimate([one, -one, one, other])
    assert found == Confusion((5.0, 2.0), 2)
    assert (found.mean, found.per_weight, found.per_mebi) == (3.5, 1.75, 1.75 * 2**20)
    assert found.plain() == {
        "values": [5.0, 2.0], "weights": 2, "mean": 3.5, "per_weight": 1.75, "per_mebi": 1.75 * 2**20
    }  # fmt: skip
    assert GradientConfusion(10, 4).count == 40


def test_no_more_gradients_are_asked_for_than_needed():
    def endless():
        for number in range(10):
            assert number < 6
            yield torch.full((3,), float(number))

    assert GradientConfusion(2, 3).estimate(endless()).values == (0.0, -36.0)


def test_wrong_arguments():
    for key, value in (("draws", 0), ("batches", 1), ("seed", -1)):
        with pytest.raises(ValueError, match=rf"GradientConfusion\.{key} must be at least"):
            GradientConfusion(**{key: value})
    with pytest.raises(ValueError, match=r"needs gradients \[m, M\] with m >= 2, not \[1, 4\]"):
        gradient_confusion(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="needs 6 mini-batches, but there were 5"):
        GradientConfusion(2, 3).estimate([torch.zeros(2)] * 5)
