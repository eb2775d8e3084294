"""Whether numbers rise over others: Pearson's coefficient, its p-value, and the line of least squares."""

from collections.abc import Sequence
from math import atan2, cos, pi, sin, sqrt
from statistics import fmean

from lit_nas.report.alpha_correlation import pearson

__all__ = ("linear_trend", "student_p_value")


def linear_trend(xs: Sequence[float], ys: Sequence[float]) -> dict[str, float] | None:
    """Pearson's coefficient with its p-value, and the line y = intercept + slope x of least squares.

    The p-value is that of Student's two-sided t-test with n - 2 degrees of freedom: how likely a coefficient is that is
    at least as far from 0, where there is no correlation.

    Args:
        xs: Numbers.
        ys: As many.

    Returns:
        `pearson`, `p_value`, `slope`, `intercept`; None with fewer than three numbers, or where one list is constant.
    """
    coefficient = pearson(xs, ys)
    if coefficient is None or len(xs) < 3:
        return None
    freedom, rest = len(xs) - 2, 1 - coefficient * coefficient
    t = abs(coefficient) * sqrt(freedom / rest) if rest > 0 else float("inf")
    mean = fmean(xs)
    slope = sum((x - mean) * y for x, y in zip(xs, ys, strict=True)) / sum((x - mean) ** 2 for x in xs)
    return {
        "pearson": coefficient,
        "p_value": student_p_value(t, freedom),
        "slope": slope,
        "intercept": fmean(ys) - slope * mean,
    }


def student_p_value(t: float, freedom: int) -> float:
    """The probability that a value of Student's distribution is at least as far from 0 as t.

    Source: the finite sums for whole degrees of freedom in Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.3 and 26.7.4.

    Args:
        t: At least 0.
        freedom: Degrees of freedom, at least 1.
    """
    angle = pi / 2 if t == float("inf") else atan2(t, sqrt(freedom))
    first = freedom % 2
    term, total = (cos(angle), 0.0) if first else (1.0, 0.0)
    for power in range(first, freedom - 1, 2):  # terms c cos^power: c = 1, then times (power + 1) / (power + 2)
        total += term
        term *= (power + 1) / (power + 2) * cos(angle) ** 2
    within = sin(angle) * total
    return max(0.0, 1.0 - (2 / pi * (angle + within) if first else within))
