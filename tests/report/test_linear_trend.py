"""Trends against closed forms, printed tables and an integral."""

from math import atan, gamma, inf, pi, sqrt

import numpy as np
import pytest

from lit_nas.report.linear_trend import linear_trend, student_p_value


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.5, 30.0])
def test_p_values_of_one_and_two_degrees_of_freedom_have_closed_forms(t):
    assert student_p_value(t, 1) == pytest.approx(1 - 2 / pi * atan(t), abs=1e-12)
    assert student_p_value(t, 2) == pytest.approx(1 - t / sqrt(2 + t * t), abs=1e-12)


@pytest.mark.parametrize(("freedom", "t", "p"), [(3, 3.1824, 0.05), (10, 2.2281, 0.05), (9, 3.2498, 0.01)])
def test_p_values_are_those_of_printed_tables(freedom, t, p):
    assert student_p_value(t, freedom) == pytest.approx(p, abs=2e-5)


@pytest.mark.parametrize("freedom", [4, 7, 98, 99])
def test_p_values_are_the_integral_of_the_density(freedom):
    scale = gamma((freedom + 1) / 2) / (sqrt(freedom * pi) * gamma(freedom / 2))
    grid = np.linspace(0.0, 1.7, 20_001)
    density = scale * (1 + grid**2 / freedom) ** (-(freedom + 1) / 2)
    within = 2 * float(np.sum((density[1:] + density[:-1]) / 2)) * (grid[1] - grid[0])
    assert student_p_value(1.7, freedom) == pytest.approx(1 - within, abs=1e-8)
    assert student_p_value(inf, freedom) == pytest.approx(0.0, abs=1e-12)


def test_a_trend_is_the_line_of_least_squares():
    chance = np.random.default_rng(0)
    xs = np.arange(1.0, 13.0)
    ys = 0.3 + 0.02 * xs + 0.05 * chance.standard_normal(12)
    found = linear_trend(list(xs), list(ys))
    slope, intercept = np.polyfit(xs, ys, 1)
    assert (found["slope"], found["intercept"]) == (pytest.approx(slope), pytest.approx(intercept))
    coefficient = float(np.corrcoef(xs, ys)[0, 1])
    assert found["pearson"] == pytest.approx(coefficient)
    t = coefficient * sqrt(10 / (1 - coefficient**2))
    assert found["p_value"] == pytest.approx(student_p_value(t, 10))


def test_an_exact_line_has_no_chance_and_a_constant_no_trend():
    exact = linear_trend([1, 2, 3], [2.0, 4.0, 6.0])
    assert (exact["pearson"], exact["slope"]) == (pytest.approx(1.0), pytest.approx(2.0))
    assert exact["p_value"] == pytest.approx(0.0, abs=1e-7)
    assert linear_trend([1, 2, 3], [2.0, 2.0, 2.0]) is None
    assert linear_trend([1, 2], [2.0, 3.0]) is None
