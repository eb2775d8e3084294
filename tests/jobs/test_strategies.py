"""Where anchors go: against a score whose maximum is known, at random, and by evolution."""

import random
from math import dist, exp

import pytest

from lit_nas.dags import FeatureSpace
from lit_nas.jobs import AnchorRow, EvolveBest, PseudoGradient, RandomSteps

BEST = (0.5, 0.4, 0.6)
STRATEGIES = [PseudoGradient(), RandomSteps(), EvolveBest()]
each = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__)


def compared(points, score):
    """A row whose cells are its points, as a softmax of their scores."""
    values = [exp(score(point)) for point in points]
    return AnchorRow(points, tuple(map(str, points)), tuple(value / sum(values) for value in values))


def concave(point):
    return -4 * dist(point, BEST) ** 2


def walk(strategy, anchor, steps, score=concave):
    for number in range(steps):
        draw = random.Random(number)
        anchor = strategy.move(compared((anchor, *strategy.neighbours(anchor, draw)), score), draw)
    return anchor


def test_neighbours_lie_on_both_sides_of_each_axis():
    found = PseudoGradient(gamma=0.25).neighbours((0.5, 0.0, 1.0), random.Random(0))
    assert found == (
        (0.75, 0.0, 1.0), (0.25, 0.0, 1.0), (0.5, 0.25, 1.0), (0.5, -0.25, 1.0), (0.5, 0.0, 1.25), (0.5, 0.0, 0.75)
    )  # fmt: skip
    assert RandomSteps(gamma=0.25).neighbours((0.5, 0.0, 1.0), random.Random(0)) == found


def test_a_step_is_the_sum_of_the_differences_along_the_axes():
    """Equation (1), by hand."""
    anchor = (0.5, 0.5, 0.5)
    values = (0.1, 0.3, 0.1, 0.05, 0.15, 0.2, 0.1)
    row = AnchorRow((anchor, *PseudoGradient().neighbours(anchor, random.Random(0))), tuple("abcdefg"), values)
    moved = PseudoGradient(step=0.5).move(row, random.Random(0))
    assert moved == pytest.approx((0.5 + 0.5 * 0.2, 0.5 - 0.5 * 0.1, 0.5 + 0.5 * 0.1))
    printed = PseudoGradient(step=0.5, sign=-1).move(row, random.Random(0))
    assert printed == pytest.approx((0.4, 0.55, 0.45))
    assert PseudoGradient(step=10.0).move(row, random.Random(0)) == (1.0, 0.0, 1.0)  # stays in the cube


@pytest.mark.parametrize("start", [(0.1, 0.9, 0.2), (1.0, 0.0, 1.0), (0.5, 0.8, 0.6)])
def test_ascent_finds_the_maximum_of_a_concave_score_and_the_printed_sign_walks_away(start):
    distances = [dist(walk(PseudoGradient(), start, steps), BEST) for steps in (0, 10, 20, 100)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3
    away = [dist(walk(PseudoGradient(sign=-1), start, steps), BEST) for steps in (0, 5, 10)]
    assert away[0] <= away[1] <= away[2]
    assert dist(walk(PseudoGradient(sign=-1), (0.1, 0.5, 0.6), 10), BEST) > 0.4


def test_there_is_no_step_at_the_maximum_nor_between_neighbours_that_share_their_cell():
    assert walk(PseudoGradient(), BEST, 1) == pytest.approx(BEST, abs=1e-12)
    anchor, features = (0.79, 0.15, 0.17), FeatureSpace(5)
    points = (anchor, *PseudoGradient().neighbours(anchor, random.Random(0)))
    dags = tuple(map(features.nearest, points))
    assert len(set(dags)) == 1
    assert AnchorRow(points, dags).cells == dags[:1]
    assert PseudoGradient().move(AnchorRow(points, dags, (1.0,) * 7), random.Random(0)) == anchor


@each
def test_moves_are_repeated_by_the_same_draws_and_stay_in_the_cube(strategy):
    for start in ((0.0, 1.0, 0.5), (0.3, 0.2, 0.9)):
        once, again = (walk(strategy, start, 20) for _ in range(2))
        assert once == again
        assert all(0 <= value <= 1 for value in once)
        assert once != start


def test_random_steps_do_not_look_at_probabilities():
    start = (0.5, 0.5, 0.5)
    strategy = RandomSteps(step=0.1)
    assert walk(strategy, start, 5) == walk(strategy, start, 5, lambda point: point[0])
    steps = []
    for number in range(300):
        row = compared((start, *strategy.neighbours(start, random.Random(0))), concave)
        steps += [after - 0.5 for after in strategy.move(row, random.Random(number))]
    assert max(map(abs, steps)) <= 0.1
    assert max(steps) > 0.09
    assert min(steps) < -0.09
    assert abs(sum(steps)) / len(steps) < 0.01


def test_evolution_takes_the_best_of_a_row_and_mutates_it():
    strategy = EvolveBest(deviation=0.1, mutants=4)
    start = (0.2, 0.9, 0.1)
    points = (start, *strategy.neighbours(start, random.Random(3)))
    assert len(set(points)) == 5
    best = max(points, key=concave)
    assert strategy.move(compared(points, concave), random.Random(0)) == best
    ties = AnchorRow(points, ("a",) * 5, (1.0,) * 5)
    assert strategy.move(ties, random.Random(0)) == start  # the parent stays
    assert dist(walk(strategy, start, 60), BEST) < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PseudoGradient(gamma=0.0), r"job\.strategy\.gamma must be a positive number, not 0\.0"),
        (lambda: PseudoGradient(gamma=float("nan")), r"job\.strategy\.gamma must be a positive number"),
        (lambda: PseudoGradient(step=-0.5), r"job\.strategy\.step must be a positive number, not -0\.5"),
        (lambda: PseudoGradient(sign=0), r"job\.strategy\.sign must be 1 .* or -1 .*, not 0"),
        (lambda: RandomSteps(step="far"), r"job\.strategy\.step must be a positive number, not 'far'"),
        (lambda: RandomSteps(gamma=-1), r"job\.strategy\.gamma must be a positive number, not -1"),
        (lambda: EvolveBest(deviation=0), r"job\.strategy\.deviation must be a positive number, not 0"),
        (lambda: EvolveBest(mutants=0), r"job\.strategy\.mutants must be a whole number of at least 1, not 0"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
