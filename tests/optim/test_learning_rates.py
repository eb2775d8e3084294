"""Learning rates against the formulas of the papers."""

from functools import partial
from math import cos, pi

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR

from lit_nas.optim import (
    CosineLR,
    DartsSGD,
    EpochDecayLR,
    RampedCosineLR,
    RestartedCosineLR,
    SearchCosineLR,
    WarmUpCosineLR,
    WarmUpLinearLR,
    fit_to_run,
    make_part,
)


def optimizer(make=DartsSGD, **arguments):
    return make([nn.Parameter(torch.zeros(2))], **arguments)


def rates(scheduler, epochs: int) -> list[float]:
    """The lr of each epoch, as a Trainer sets it: one step at the end of each."""
    values = []
    for _ in range(epochs):
        values.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return values


def test_schedules_have_the_numbers_of_the_paper():
    assert CosineLR(optimizer()).lr_min == 0
    assert SearchCosineLR(optimizer()).lr_min == 1e-3
    decay = EpochDecayLR(optimizer(lr=0.1))
    assert rates(decay, 250) == pytest.approx([0.1 * 0.97**epoch for epoch in range(250)], rel=1e-10)


@pytest.mark.parametrize(("make", "lr_min", "epochs"), [(CosineLR, 0.0, 600), (SearchCosineLR, 1e-3, 50)])
def test_cosine_has_its_closed_form(make, lr_min, epochs):
    scheduler = fit_to_run(make(optimizer()), epochs)
    expected = [lr_min + (0.025 - lr_min) * (1 + cos(pi * epoch / epochs)) / 2 for epoch in range(epochs)]
    values = rates(scheduler, epochs + 5)
    assert values[0] == 0.025
    assert values[:epochs] == pytest.approx(expected, rel=1e-12)
    assert values[epochs:] == pytest.approx([lr_min] * 5, abs=1e-18)  # and stays there
    torchs = CosineAnnealingLR(optimizer(), epochs, lr_min)
    assert values[:epochs] == pytest.approx(rates(torchs, epochs), rel=1e-9)


@pytest.mark.parametrize("warm_up", [5, 0])
def test_a_warm_up_has_a_part_of_the_cosine(warm_up):
    values = rates(fit_to_run(RampedCosineLR(optimizer(lr=0.5), warm_up=warm_up), 50), 50)
    parts = [min(1.0, (epoch + 1) / 5) if warm_up else 1.0 for epoch in range(50)]
    expected = [part * 0.5 * (1 + cos(pi * epoch / 50)) / 2 for epoch, part in enumerate(parts)]
    assert values == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"refuses its settings: RampedCosineLR\.warm_up must not be .* but is -1\."):
        make_part(partial(RampedCosineLR, warm_up=-1), optimizer(), "model.optim.schedule")


def test_cosine_of_each_group_starts_at_its_own_lr():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.4)]
    scheduler = CosineLR(torch.optim.SGD(groups), lr_min=0.02, epochs=4)
    for _ in range(2):
        scheduler.optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.06, 0.21])


@pytest.mark.parametrize("done", [0, 1, 7, 20])
def test_cosine_continues_where_it_stopped(done):
    whole = rates(fit_to_run(SearchCosineLR(optimizer()), 20), 22)
    first = fit_to_run(SearchCosineLR(optimizer()), 20)
    rates(first, done)
    second = fit_to_run(SearchCosineLR(optimizer()), 20)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, 22 - done) == whole[done:]


def test_fit_to_run_leaves_a_length_that_was_given():
    assert fit_to_run(CosineLR(optimizer(), epochs=7), 50).epochs == 7
    assert fit_to_run(CosineLR(optimizer(), epochs=7), -1).epochs == 7
    assert fit_to_run(CosineLR(optimizer()), 50).epochs == 50


def test_fit_to_run_returns_other_schedulers_as_they_are():
    scheduler = StepLR(optimizer(), 3)
    before = scheduler.state_dict()
    assert fit_to_run(scheduler, -1) is scheduler
    assert scheduler.state_dict() == before


@pytest.mark.parametrize("epochs", [-1, 0])
def test_a_cosine_needs_a_length(epochs):
    with pytest.raises(ValueError, match=rf"SearchCosineLR spans the run, so trainer\.max_epochs .* not {epochs};"):
        fit_to_run(SearchCosineLR(optimizer()), epochs)


def test_a_scheduler_that_needs_a_metric_is_refused():
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau needs a metric .* such as CosineLR"):
        fit_to_run(ReduceLROnPlateau(optimizer()), 50)


def test_a_higher_cosine_comes_before_that_of_the_rest():
    found = rates(fit_to_run(RestartedCosineLR(optimizer(lr=0.025), first=4), 10), 10)
    expected = [0.05 * (1 + cos(pi * epoch / 4)) / 2 for epoch in range(4)]
    expected += [0.025 * (1 + cos(pi * epoch / 6)) / 2 for epoch in range(6)]
    assert found == pytest.approx(expected)


def test_the_first_epochs_lead_up_to_a_cosine():
    found = rates(fit_to_run(WarmUpCosineLR(optimizer(lr=0.1), first=5), 9), 9)
    expected = [0.02, 0.04, 0.06, 0.08, 0.1, *(0.1 * (1 + cos(pi * epoch / 4)) / 2 for epoch in range(4))]
    assert found == pytest.approx(expected)
    assert rates(fit_to_run(WarmUpCosineLR(optimizer(lr=0.1), first=0), 4), 4) == pytest.approx(
        rates(fit_to_run(CosineLR(optimizer(lr=0.1)), 4), 4)
    )


@pytest.mark.parametrize("kind", [RestartedCosineLR, WarmUpCosineLR, WarmUpLinearLR])
def test_a_negative_number_of_first_epochs_is_refused(kind):
    with pytest.raises(ValueError, match=r"schedule refuses its settings: .*\.first must not be negative, but is -1\."):
        make_part(partial(kind, first=-1), optimizer(), "model.optim.schedule")


def test_the_line_of_retraining_on_imagenet_has_its_closed_form():
    """lr (E - 5 - e) / (E - 5) before the last five epochs, lr (E - e) / (5 (E - 5)) in them; 5 epochs of warm-up."""
    found = rates(fit_to_run(WarmUpLinearLR(optimizer(lr=0.5)), 250), 252)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:245] == pytest.approx([0.5 * (245 - epoch) / 245 for epoch in range(5, 245)])
    assert found[245:] == pytest.approx([0.5 * left / (245 * 5) for left in (5, 4, 3, 2, 1, 0, 0)])


@pytest.mark.parametrize(("epochs", "expected"), [(1, [0.5]), (2, [0.5, 0.25]), (4, [0.5, 0.5 * 3 / 4, 0.25, 0.125])])
def test_a_line_without_a_warm_up_and_an_end_is_one(epochs, expected):
    assert rates(fit_to_run(WarmUpLinearLR(optimizer(lr=0.5), 0, 0), epochs), epochs) == pytest.approx(expected)


def test_a_short_run_ends_in_its_warm_up():
    assert rates(fit_to_run(WarmUpLinearLR(optimizer(lr=0.5)), 3), 3) == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"refuses its settings: WarmUpLinearLR\.last must not be .* but is -1\."):
        make_part(partial(WarmUpLinearLR, last=-1), optimizer(), "model.optim.schedule")


@pytest.mark.parametrize("kind", [RestartedCosineLR, WarmUpCosineLR, partial(WarmUpLinearLR, last=0)])
def test_first_epochs_have_their_steps_where_a_schedule_counts_steps(kind):
    """Each epoch has three steps: after whole epochs the rate is that of a schedule of epochs, but for the way up."""
    by_step = rates(fit_to_run(kind(optimizer(lr=0.1), first=2), 24, per_epoch=3), 24)
    by_epoch = rates(fit_to_run(kind(optimizer(lr=0.1), first=2), 8), 8)
    if kind is RestartedCosineLR:
        assert by_step[::3] == pytest.approx(by_epoch)
    else:
        assert by_step[:6] == pytest.approx([0.1 * (step + 1) / 6 for step in range(6)])
        assert by_step[6::3] == pytest.approx(by_epoch[2:])
    ramped = rates(fit_to_run(RampedCosineLR(optimizer(lr=0.1), warm_up=2), 24, per_epoch=3), 24)
    plain = rates(fit_to_run(CosineLR(optimizer(lr=0.1)), 24), 24)
    assert ramped == pytest.approx([min((step + 1) / 6, 1.0) * lr for step, lr in enumerate(plain)])


def test_a_schedule_of_steps_that_was_given_its_length_counts_steps_throughout():
    found = rates(fit_to_run(WarmUpCosineLR(optimizer(lr=0.1), first=2, epochs=6), 24, per_epoch=3), 6)
    assert found == pytest.approx(rates(fit_to_run(WarmUpCosineLR(optimizer(lr=0.1), first=2), 6), 6))
