"""Spearman's coefficient against SciPy, which scikit-learn brings, and its test and interval against what they mean."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from lit_nas.ranks import average_ranks, spearman


def pairs(seed, size, tied=False):
    chance = np.random.default_rng(seed)
    x = chance.normal(size=size)
    y = x + chance.normal(size=size)
    return (x.round(), y.round()) if tied else (x, y)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("size", [5, 16, 100])
def test_coefficient_and_p_value_are_those_of_scipy(size, tied):
    x, y = pairs(size, size, tied)
    found, wanted = spearman(x, y), stats.spearmanr(x, y)
    assert found.coefficient == pytest.approx(wanted.statistic, rel=1e-12)
    if size > 5:  # whose approximation is not for so few
        assert found.p_value == pytest.approx(wanted.pvalue, abs=0.01)
    np.testing.assert_array_equal(average_ranks(x), stats.rankdata(x))
    assert -1 <= found.low <= found.coefficient <= found.high <= 1
    assert found == spearman(x.tolist(), y.tolist())
    # ranks see the order alone
    assert spearman(np.exp(x), y).coefficient == pytest.approx(found.coefficient, rel=1e-12)


def test_the_p_value_is_the_share_of_all_orders_that_are_as_far_from_zero():
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 1.0, 3.0, 4.0, 5.0])
    found = spearman(x, y, draws=50_000)
    values = [stats.spearmanr(x, order).statistic for order in permutations(y)]
    exact = np.mean([abs(value) >= found.coefficient - 1e-9 for value in values])
    assert found.p_value == pytest.approx(exact, abs=0.005)


def test_the_interval_is_narrower_with_more_pairs_and_about_as_wide_as_fishers():
    widths = []
    for size in (16, 64, 256):
        x, y = pairs(0, size)
        found = spearman(x, y, draws=2000)
        widths.append(found.high - found.low)
        z = np.arctanh(found.coefficient)
        half = 1.96 * np.sqrt((1 + found.coefficient**2 / 2) / (size - 3))
        assert widths[-1] == pytest.approx(np.tanh(z + half) - np.tanh(z - half), rel=0.4)
    assert widths[0] > widths[1] > widths[2]


def test_extremes():
    assert spearman([1, 2, 3], [3, 2, 1]).coefficient == pytest.approx(-1.0)
    constant = spearman([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
    assert (constant.coefficient, constant.p_value, constant.low, constant.high, constant.pairs) == (*[None] * 4, 3)
    two = spearman([1, 2], [1, 2])
    assert (two.coefficient, two.p_value, two.low) == (pytest.approx(1.0), 1.0, None)
    assert spearman([-np.inf, 1.0, 2.0], [1.0, 2.0, 3.0]).coefficient == pytest.approx(1.0)  # a rank of 0


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([1, 2], [1]), ([], [])])
def test_fewer_than_two_pairs_are_refused(x, y):
    with pytest.raises(ValueError, match="two lists of the same length, at least 2"):
        spearman(x, y)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="one is not a number"):
        spearman([1.0, float("nan")], [1.0, 2.0])
