"""The clock of a search as state: what it holds, where it lives, and how it reads."""

import pytest

from lit_nas.clock import Clock, Moment
from tests.support.meta_device import META, waits


def test_before_a_run_nothing_is_done():
    clock = Clock()
    assert clock.progress == 0
    assert {name: float(value) for name, value in clock.state_dict().items()} == {
        "step": 0, "epoch": 0, "total_steps": 1, "total_epochs": 1,
    }  # fmt: skip


def test_progress_is_bit_equal_to_numbers_of_the_host():
    clock = Clock()
    clock.start(7 * 391, 7)
    for epoch in range(7):
        for batch in range(391):
            clock.set(epoch * 391 + batch, epoch + batch / 391)
            assert clock.progress == (epoch + batch / 391) / 7


def test_setting_it_waits_for_nothing():
    clock = Clock().to(META)
    with waits() as found:
        clock.start(10, 2)
        clock.set(3, 0.6)
        _ = clock.progress
    assert found == []


def test_a_moment_has_the_same_numbers():
    clock = Clock()
    clock.start(10, 2)
    clock.set(3, 0.6)
    for time in (clock.moment(), Moment(3.0, 0.6, 10.0, 2.0)):
        assert float(time.progress) == float(clock.progress) == 0.3
        assert [float(getattr(time, name)) for name in clock.state_dict()] == [3, 0.6, 10, 2]


@pytest.mark.parametrize("steps", [1, 12])
def test_it_survives_a_round_trip(steps):
    clock, again = Clock(), Clock()
    clock.start(steps, 3)
    clock.set(steps / 2, 1.5)
    again.load_state_dict(clock.state_dict())
    assert again.progress == 0.5
