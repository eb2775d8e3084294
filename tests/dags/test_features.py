"""DAGs as points: closed forms, corners of the cube, and the way back."""

import math
import random
from collections import Counter
from fractions import Fraction

import pytest

from lit_nas.dags import FeatureSpace, all_dags, measure, parse_dag

SPACE = FeatureSpace()
STAR = "dag6_01_02_03_04_05"


@pytest.mark.parametrize(
    ("name", "eccentricity", "degree"),
    [
        ("dag1", Fraction(0), Fraction(0)),
        (STAR, Fraction(5, 36), Fraction(20, 9)),
        ("dag3_01_12", Fraction(2, 9), Fraction(2, 9)),
        ("dag4_01_02_13_23", Fraction(0), Fraction(0)),
    ],
)
def test_closed_forms(name, eccentricity, degree):
    found = measure(parse_dag(name))
    assert Fraction(found.eccentricity, found.vertices**2) == eccentricity
    assert Fraction(found.degree, found.vertices**2) == degree


def test_points_lie_in_the_cube_and_reach_its_sides():
    points = list(SPACE.points)
    for axis in range(3):
        assert {min(p[axis] for p in points), max(p[axis] for p in points)} == {0.0, 1.0}
    assert SPACE.point(STAR) == (pytest.approx(5 / 36 / (2 / 3)), 1.0, 1.0)
    assert SPACE.point("dag1") == (0.0, 0.0, 0.0)
    assert {round(point[2], 12) for point in points} == {round(n / 5, 12) for n in range(6)}


def test_sixty_six_points_for_all_dags():
    assert len(SPACE.points) == 66
    assert Counter(round(5 * point[2]) + 1 for point in SPACE.points) == {1: 1, 2: 1, 3: 2, 4: 4, 5: 17, 6: 41}
    assert sum(map(len, SPACE.points.values())) == len(all_dags(6))


@pytest.mark.parametrize("choice", ["random", "first"])
def test_a_point_of_the_table_leads_to_itself(choice):
    space = FeatureSpace(choice=choice, seed=3)
    for point, names in space.points.items():
        assert space.nearest_point(point) == point
        assert space.nearest(point) in names
        assert space.point(space.nearest(point)) == point
        if choice == "first":
            assert space.nearest(point) == names[0]


def test_the_nearest_point_is_that_of_a_search_through_all():
    draw = random.Random(0)
    for _ in range(100):
        point = [draw.uniform(-0.3, 1.3) for _ in range(3)]
        found = SPACE.nearest_point(point)
        assert math.dist(found, point) == min(
            math.dist(SPACE.point(names[0]), point) for names in SPACE.points.values()
        )


def test_the_draw_is_one_of_the_seed():
    points = list(SPACE.points)
    chosen = [*(FeatureSpace(seed=seed) for seed in (0, 0, 1)), FeatureSpace(choice="first")]
    first, again, other, fixed = ([space.nearest(point) for point in points] for space in chosen)
    assert first == again == [SPACE.nearest(point) for point in reversed(points)][::-1]
    assert first != other
    assert first != fixed


def test_features_without_a_range_are_zero():
    assert list(FeatureSpace(1).points) == [(0.0, 0.0, 0.0)]
    assert list(FeatureSpace(2).points) == [(0.0, 0.0, 0.0), (0.0, 0.0, 1.0)]


def test_what_is_refused():
    with pytest.raises(ValueError, match="choice of FeatureSpace must be random or first, not 'last'"):
        FeatureSpace(choice="last")
    with pytest.raises(ValueError, match="for 1 to 7 vertices, not 9"):
        FeatureSpace(9)
    with pytest.raises(ValueError, match=r"'dag6_01_02_03_04_05' has more vertices than the 5 of the feature space"):
        FeatureSpace(5).point(STAR)
    for point in ((0.1, 0.2), (0.1, math.nan, 0.2)):
        with pytest.raises(ValueError, match="A point of the feature space is three finite numbers, not"):
            SPACE.nearest_point(point)
