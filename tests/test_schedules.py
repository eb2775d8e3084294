"""Schedules against closed forms, on clocks of numbers and of tensors."""

from math import cos, exp, pi

import pytest
import torch

from lit_nas.clock import Clock, Moment
from lit_nas.schedules import Constant, Cosine, Delayed, Exponential, Linear, LinearThenExponential, Steps
from tests.support.meta_device import META, waits

BATCHES, EPOCHS = 4, 10


def moments():
    """Each step of a run of ten epochs: epoch, batch and time."""
    for epoch in range(EPOCHS):
        for batch in range(BATCHES):
            step = epoch * BATCHES + batch
            yield epoch, batch, Moment(step, epoch + batch / BATCHES, EPOCHS * BATCHES, EPOCHS)


def as_clock(moment):
    clock = Clock()
    clock.start(moment.total_steps, moment.total_epochs)
    clock.set(moment.step, moment.epoch)
    return clock


LAST = EPOCHS * BATCHES - 1
CASES = {
    "constant": (Constant(0.3), lambda e, b: 0.3),
    "linear": (Linear(1.0, 3.0), lambda e, b: 1 + 2 * (e + b / BATCHES) / EPOCHS),
    "linear by epochs": (Linear(0.0, 0.2, "epoch"), lambda e, b: 0.2 * e / EPOCHS),
    "temperature of GDAS": (Linear(10.0, 0.1, "epoch", inclusive=True), lambda e, b: 10 - 9.9 * e / (EPOCHS - 1)),
    "temperature of SNAS": (Linear(1.0, 0.03, "epoch"), lambda e, b: (1 - e / EPOCHS) * (1 - 0.03) + 0.03),
    "linear to the last step": (Linear(5.0, 1.0, inclusive=True), lambda e, b: 5 - 4 * (e * BATCHES + b) / LAST),
    "linear that ends early": (Linear(0.0, 1.0, epochs=4), lambda e, b: min((e + b / BATCHES) / 4, 1)),
    "early, by epochs": (Linear(0.0, 1.0, "epoch", True, 4), lambda e, b: min(e / 3, 1)),
    "early, to the last step": (
        Linear(0.0, 1.0, inclusive=True, epochs=5), lambda e, b: min((e * BATCHES + b) / (5 * BATCHES - 1), 1),
    ),
    "cosine": (Cosine(1.0, 0.0, "epoch"), lambda e, b: (1 + cos(pi * e / EPOCHS)) / 2),
    "cosine by steps": (Cosine(2.0, 4.0), lambda e, b: 4 - (1 + cos(pi * (e + b / BATCHES) / EPOCHS))),
    "temperature of ASAP": (Exponential(1.6, 0.95), lambda e, b: 1.6 * 0.95**e),
    "exponential by steps": (Exponential(2.0, 0.5, "step"), lambda e, b: 2 * 0.5 ** (e + b / BATCHES)),
    "dropout of P-DARTS": (
        LinearThenExponential(0.7, 4, 0.2), lambda e, b: 0.7 * ((9 - e) / EPOCHS if e < 4 else exp(-0.2 * (e - 4))),
    ),
    "steps": (Steps((3.0, 1.0, 2.0), at=(4, 7)), lambda e, b: 3 if e < 4 else 1 if e < 7 else 2),
    "equal steps": (Steps((1.0, 2.0, 3.0, 4.0)), lambda e, b: 1 + (4 * (e * BATCHES + b)) // (EPOCHS * BATCHES)),
    "one step": (Steps((7.0,)), lambda e, b: 7),
    "delayed": (
        Delayed(Linear(1.0, 0.0), 4, before=9.0), lambda e, b: 9 if e < 4 else 1 - (e - 4 + b / BATCHES) / 6,
    ),
    "delayed, to the last step": (
        Delayed(Linear(1.0, 0.0, inclusive=True), 4), lambda e, b: 0 if e < 4 else 1 - ((e - 4) * BATCHES + b) / 23,
    ),
    "delayed constant": (Delayed(Constant(5.0), 3), lambda e, b: 0 if e < 3 else 5),
    "delayed twice": (Delayed(Delayed(Exponential(1.0, 0.5), 2, 3.0), 2, 4.0),
                      lambda e, b: 4 if e < 2 else 3 if e < 4 else 0.5 ** (e - 4)),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "expected"), CASES.values(), ids=CASES)
def test_closed_forms(schedule, expected):
    for epoch, batch, moment in moments():
        value = schedule(moment)
        assert type(value) is float
        assert value == pytest.approx(expected(epoch, batch), rel=1e-12, abs=1e-12)
        on_device = schedule(as_clock(moment))
        assert float(on_device) == pytest.approx(value, rel=1e-14, abs=1e-15)
        if isinstance(on_device, torch.Tensor):
            assert on_device.dtype == torch.float64
            assert on_device.shape == ()


@pytest.mark.parametrize(("schedule", "expected"), CASES.values(), ids=CASES)
def test_no_device_is_waited_for(schedule, expected):
    clock = Clock().to(META)
    with waits() as found:
        schedule(clock)
    assert found == []


def test_a_run_of_one_epoch_begins_where_it_begins():
    moment = Moment(0, 0, 1, 1)
    for schedule in (Linear(2.0, 1.0, "epoch", True), Linear(2.0, 1.0, inclusive=True), Cosine(2.0, 1.0, "epoch")):
        assert schedule(moment) == schedule(as_clock(moment)) == 2


@pytest.mark.parametrize("delayed", [Delayed(Linear(0.0, 1.0), 1.5), Delayed(Delayed(Linear(0.0, 1.0), 1.25), 0.25)])
def test_a_delay_leaves_less_than_an_epoch(delayed):
    """The schedule spans what is left, however short it is."""
    times = [Moment(step, step / 4, 8, 2) for step in range(9)]
    expected = [0, 0, 0, 0, 0, 0, 0, 0.5, 1]
    assert [delayed(time) for time in times] == pytest.approx(expected)
    assert [float(delayed(as_clock(time))) for time in times] == pytest.approx(expected)


@pytest.mark.parametrize("delay", [2, 3])
def test_a_delay_that_leaves_nothing(delay):
    delayed = Delayed(Cosine(0.0, 1.0), delay, before=5.0)
    times = [Moment(step, step / 4, 8, 2) for step in range(8)]
    assert [delayed(time) for time in times] == [float(delayed(as_clock(time))) for time in times] == [5.0] * 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(float("nan")), r"Constant\.value must be a finite number, not nan"),
        (lambda: Linear(0.0, float("inf")), r"Linear\.end must be a finite number, not inf"),
        (lambda: Cosine(0.0, 1.0, "batch"), r"Cosine\.every must be `step` or `epoch`, not 'batch'"),
        (lambda: Linear(0.0, 1.0, epochs=0), r"Linear\.epochs must be positive or null, not 0"),
        (lambda: Exponential(1.0, 0.0), r"Exponential\.factor must be positive, not 0\.0"),
        (lambda: Exponential(1.0, 0.5, "day"), r"Exponential\.every must be `step` or `epoch`, not 'day'"),
        (lambda: LinearThenExponential(0.4, -1), r"LinearThenExponential\.epochs must not be negative, but is -1"),
        (lambda: Steps(()), r"Steps\.values must be at least one finite number, not \(\)"),
        (lambda: Steps((1.0, 2.0, 3.0), at=(5, 4)), r"Steps\.at must be 2 epochs in rising order.*not \(5, 4\)"),
        (lambda: Steps((1.0, 2.0), at=()), r"Steps\.at must be 1 epochs in rising order.*not \(\)"),
        (lambda: Delayed(Constant(1.0), -1), r"Delayed\.epochs must not be negative, but is -1"),
    ],
)
def test_numbers_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
