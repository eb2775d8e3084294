"""The softmax of DARTS with masked candidates."""

import pytest
import torch

from lit_nas.clock import Moment
from lit_nas.relaxations import Softmax

HALF = Moment(5.0, 0.5)
MASKS = {
    "all live": [[True] * 4] * 3,
    "some live": [[True, False, True, True], [False, True, False, False], [True, True, True, True]],
    "a row without any": [[True, False, True, False], [False] * 4, [False, True, True, True]],
}
masks = pytest.mark.parametrize("mask", [torch.tensor(rows) for rows in MASKS.values()], ids=list(MASKS))


def logits() -> torch.Tensor:
    values = 3 * torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return values.requires_grad_()


@masks
def test_living_rows_sum_to_one(mask):
    sums = Softmax().probabilities(logits(), mask, HALF).sum(-1)
    torch.testing.assert_close(sums, mask.any(-1).double(), rtol=0, atol=1e-15)


@masks
def test_masked_entries_are_zero_and_the_rest_is_the_smaller_problem(mask):
    values = logits()
    weights = Softmax().probabilities(values, mask, HALF)
    assert torch.equal(weights[~mask], torch.zeros_like(weights[~mask]))
    for row, value, alive in zip(weights, values, mask, strict=True):
        exponentials = value[alive].exp()
        torch.testing.assert_close(row[alive], exponentials / exponentials.sum(), rtol=1e-13, atol=0)


def test_a_row_without_candidates_is_zero_and_so_is_its_gradient():
    values, mask = logits(), torch.tensor(MASKS["a row without any"])
    weights = Softmax().probabilities(values, mask, HALF)
    (weights * torch.arange(12.0).view(3, 4)).sum().backward()
    assert torch.equal(weights[1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(values.grad[1], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(values.grad != 0, mask)


@masks
def test_gradient(mask):
    assert torch.autograd.gradcheck(lambda values: Softmax().probabilities(values, mask, HALF), logits())
