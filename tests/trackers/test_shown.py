"""What is shown, and how often."""

import pytest

from lit_nas.trackers import Chart, is_due


def test_charts_are_shown_at_growing_distances_so_that_their_rows_grow_linearly():
    due = [epoch for epoch in range(1000) if is_due(epoch)]
    assert due[:10] == [0, 1, 2, 3, 4, 6, 9, 13, 19, 28]
    for last in range(1, 1000):
        rows = sum(epoch + 1 for epoch in due if epoch < last) + last + 1  # the last epoch is always shown
        assert rows <= 4.2 * (last + 1) + 10  # shown each time they would be (last + 1) (last + 2) / 2


def test_a_chart_with_many_lines_and_points_is_made_readable():
    lines = {f"op{k}": [0.0, *([k / 50] * 1999)] for k in range(50)}
    chart = Chart("alphas/normal", "title", "epoch", list(range(2000)), {"0-2": lines, "1-2": {"op0": [0.5] * 2000}})
    shown = chart.readable(lines=3, points=5)
    assert shown.xs == [0, 500, 1000, 1499, 1999]
    assert list(shown.panels) == ["0-2 (the highest 3 of 50)", "1-2"]
    assert list(shown.panels["0-2 (the highest 3 of 50)"]) == ["op47", "op48", "op49"]
    assert shown.panels["0-2 (the highest 3 of 50)"]["op49"] == pytest.approx([0.0, *[0.98] * 4])
    short = Chart("a", "t", "epoch", [0, 1], {"0-2": {"a": [0.25, 0.5], "b": [0.75, 0.5]}})
    assert short.readable() == short
