"""Grouped dropout: how often candidates are dropped, what is kept of each group, and what a step leaves unchanged."""

import pytest
import torch

from lit_nas.clock import Moment
from lit_nas.relaxations import Draw, Entmax, GroupedDropout, GumbelSoftmax, Occasion, Sigmoid, Softmax
from lit_nas.relaxations.draw import active_columns, generator_of
from lit_nas.relaxations.grouped_dropout import keep_mass
from lit_nas.schedules import Constant, Delayed, Linear
from lit_nas.spaces import DARTS_OPERATIONS

NOW = Moment(0.0, 0.0)
CONVS = torch.tensor([name.startswith(("sep", "dil")) for name in DARTS_OPERATIONS])
NAS_BENCH_201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def rates(r, **arguments):
    return GroupedDropout(Constant(r), Constant(r), **arguments)


def masks(relaxation, edges=20_000, names=DARTS_OPERATIONS, mask=None, seed=0, clock=NOW):
    """Masks of many edges, bool [E, O]."""
    mask = torch.ones(edges, len(names), dtype=torch.bool) if mask is None else mask
    logits = torch.zeros(mask.shape, dtype=torch.float64)
    return relaxation.draw(logits, mask, clock, Occasion(names, "both", generator_of(seed))).numbers.bool()


@pytest.mark.parametrize("r", [3e-5, 0.1, 0.9])
@pytest.mark.parametrize("names", [DARTS_OPERATIONS, NAS_BENCH_201, ("none", "skip_connect", *DARTS_OPERATIONS[4:])])
def test_candidates_are_dropped_as_often_as_rejection_would(names, r):
    kept = masks(rates(r), names=names)
    free = torch.tensor([name in ("none", "skip_connect") or "pool" in name for name in names])
    for group in (free, ~free):
        p = r ** (1 / int(group.sum()))
        expected = (p - r) / (1 - r)
        found = 1 - kept[:, group].double().mean(0)
        assert ((found - expected).abs() < 5 * (expected * (1 - expected) / len(kept)) ** 0.5 + 1e-12).all()
        assert kept[:, group].any(-1).all()
        # independent under the condition: how many are kept is binomial without its first value
        count, size = kept[:, group].sum(-1), int(group.sum())
        binomial = torch.distributions.Binomial(size, torch.tensor(1 - p, dtype=torch.float64))
        for number in range(1, size + 1):
            chance = float(binomial.log_prob(torch.tensor(float(number))).exp()) / (1 - r)
            share = float((count == number).double().mean())
            assert abs(share - chance) < 5 * (chance * (1 - chance) / len(kept)) ** 0.5 + 1e-9
    if r == 3e-5 and names == DARTS_OPERATIONS:  # the numbers of the paper
        assert abs(float(kept.sum(-1).double().mean()) - 7.41) < 0.02
        assert abs(float(kept.all(-1).double().mean()) - 0.541) < 0.02


@pytest.mark.parametrize("r", [0.999999, 1.0])
def test_one_of_each_group_is_kept_at_the_highest_rates(r):
    kept = masks(rates(r), edges=8000)
    for group in (CONVS, ~CONVS):
        assert (kept[:, group].sum(-1) == 1).double().mean() > 0.999
        shares = kept[:, group].double().mean(0)
        assert ((shares - 0.25).abs() < 0.025).all()  # each is as likely


def test_rate_zero_is_a_softmax():
    assert masks(rates(0.0), edges=100).all()
    logits = torch.randn(100, 8)
    mask = torch.rand(100, 8) > 0.3
    draw = rates(0.0).draw(logits, mask, NOW, Occasion(DARTS_OPERATIONS, "both", generator_of(0)))
    expected = Softmax().probabilities(logits, mask, NOW)
    assert draw.active == active_columns(mask)
    assert torch.equal(rates(0.0).weights(logits, mask, NOW, draw), expected)
    assert torch.equal(rates(0.5).probabilities(logits, mask, NOW), expected)  # evaluation drops nothing
    moved = logits + torch.randn(100, 8)
    assert torch.equal(rates(0.0).settled(logits, moved, mask, draw).masked_fill(~mask, 0), moved.masked_fill(~mask, 0))


def test_groups_have_rates_of_their_own_that_may_change():
    relaxation = GroupedDropout(Linear(0.0, 0.5), Delayed(Constant(0.5), 4.0))
    early, late = (masks(relaxation, clock=Moment(e, e, 10.0, 10.0), edges=500) for e in (0.0, 5.0))
    assert early.all()
    assert not late[:, CONVS].all()
    assert not late[:, ~CONVS].all()
    assert masks(GroupedDropout(Constant(0.5), Constant(0.0)), edges=500)[:, ~CONVS].all()


def test_the_exponent_follows_the_candidates_of_an_edge():
    mask = torch.zeros(20_000, 8, dtype=torch.bool)
    mask[:, [1, 4, 6]] = True  # one without weights, two with
    kept = masks(rates(0.01), mask=mask)
    assert torch.equal(kept[:, [0, 2, 3, 5, 7]], mask[:, [0, 2, 3, 5, 7]])
    assert kept[:, 1].all()  # alone in its group
    assert abs(float(1 - kept[:, 4].double().mean()) - (0.1 - 0.01) / 0.99) < 0.01
    code = masks(rates(0.01, group_size=4), mask=mask)
    p = 0.01**0.25
    assert abs(float(1 - code[:, 4].double().mean()) - (p - p**2) / (1 - p**2)) < 0.01
    mask[:100] = False
    assert not masks(rates(0.5), mask=mask)[:100].any()


def test_what_is_pruned_elsewhere_does_not_change_a_draw():
    mask = torch.ones(200, 8, dtype=torch.bool)
    other = mask.clone()
    other[50:100, 3:] = False
    whole, pruned = masks(rates(0.3), mask=mask), masks(rates(0.3), mask=other)
    assert torch.equal(whole[:50], pruned[:50])
    assert torch.equal(whole[100:], pruned[100:])
    assert not torch.equal(whole, masks(rates(0.3), mask=mask, seed=1))


@pytest.mark.parametrize("of", [Softmax(), Entmax(1.5), Sigmoid()])
def test_weights_are_those_of_the_kept_candidates_alone(of):
    relaxation = rates(0.3, of=of, adjust=False)
    logits = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(6, 8, dtype=torch.bool)
    draw = relaxation.draw(logits.detach(), mask, NOW, Occasion(DARTS_OPERATIONS, "both", generator_of(3)))
    assert draw.active == active_columns(draw.numbers.bool())
    weights = relaxation.weights(logits, mask, NOW, draw)
    (gradient,) = torch.autograd.grad((weights * torch.arange(8.0)).sum(), logits)
    for row, columns in enumerate(draw.active):
        columns, others = list(columns), [column for column in range(8) if column not in columns]
        alone = of.probabilities(logits[row : row + 1, columns], mask[:1, columns], NOW)[0]
        torch.testing.assert_close(weights[row, columns], alone, rtol=1e-12, atol=1e-14)
        assert not weights[row, others].any()
        assert not gradient[row, others].any()
        assert of.competes is False or abs(float(weights[row].detach().sum()) - 1) < 1e-12


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_dropped_candidates_keep_their_probabilities(scale):
    before = torch.randn(50, 8, dtype=torch.float64)
    kept = masks(rates(0.5), edges=50)
    mask = torch.rand(50, 8) > 0.2
    after = before + scale * torch.randn(50, 8, dtype=torch.float64)  # dropped ones have moved, too
    draw = Draw(active_columns(kept & mask), (kept & mask).double())
    settled = rates(0.5).settled(before, after, mask, draw)
    had, has = (Softmax().probabilities(each, mask, NOW) for each in (before, settled))
    dropped, used = mask & ~kept, mask & kept
    torch.testing.assert_close(has[dropped], had[dropped], rtol=0, atol=1e-12)
    assert torch.equal(settled[~used], before[~used])
    for row in range(50):  # differences among kept ones are as the optimiser left them
        a, b = settled[row][used[row]], after[row][used[row]]
        if len(a):
            torch.testing.assert_close(a - a[0], b - b[0], rtol=0, atol=1e-12)
    shift = torch.log(
        (before.exp() * used).sum(-1) / (after.exp() * used).sum(-1)
    )  # the formula of the paper, without rewriting
    rows = dropped.any(-1) & used.any(-1)
    assert rows.any()
    torch.testing.assert_close(((settled - after) * used)[rows], (shift.unsqueeze(-1) * used)[rows])


def test_without_freezing_all_kept_candidates_together_keep_their_probability():
    before, mask = torch.randn(50, 8, dtype=torch.float64), torch.ones(50, 8, dtype=torch.bool)
    kept = masks(rates(0.5), edges=50)
    after = before + torch.randn(50, 8, dtype=torch.float64)
    draw = Draw(active_columns(kept), kept.double())
    settled = rates(0.5, freeze=False).settled(before, after, mask, draw)
    assert torch.equal(settled[~kept], after[~kept])
    # the formula of the code
    rho = (before.exp() * kept).sum(-1) / before.exp().sum(-1)
    shift = torch.log(rho / (1 - rho) * (after.exp() * ~kept).sum(-1) / (after.exp() * kept).sum(-1))
    rows = ~kept.all(-1)
    expected = torch.where(kept & rows.unsqueeze(-1), after + shift.unsqueeze(-1), after)
    torch.testing.assert_close(settled, expected)
    torch.testing.assert_close((settled.softmax(-1) * kept).sum(-1), rho)
    assert torch.equal(rates(0.5, freeze=False, adjust=False).settled(before, after, mask, draw), after)
    only_frozen = rates(0.5, adjust=False).settled(before, after, mask, draw)
    assert torch.equal(only_frozen, torch.where(kept, after, before))


def test_large_parameters_are_adjusted_without_overflow():
    before = torch.tensor([[500.0, 480.0, 490.0]], dtype=torch.float64)
    after = torch.tensor([[520.0, 480.0, 490.0]], dtype=torch.float64)
    kept = torch.tensor([[True, False, True]])
    settled = keep_mass(before, after, torch.ones(1, 3, dtype=torch.bool), kept)
    assert settled.isfinite().all()
    torch.testing.assert_close(settled.softmax(-1)[0, 1], before.softmax(-1)[0, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rates(1.5), r"relaxation\.with_weights of GroupedDropout must be in \[0, 1\], but is 1\.5"),
        (lambda: GroupedDropout(without_weights=0.1), r"without_weights of GroupedDropout must be a schedule"),
        (lambda: rates(0.1, group_size=0), r"group_size of GroupedDropout must be at least 1, not 0"),
        (lambda: rates(0.1, of=GumbelSoftmax(Constant(1.0))), r"of GroupedDropout is GumbelSoftmax, which draws"),
        (lambda: rates(0.1, of=Entmax(1.5)), r"but relaxation\.of is Entmax: set relaxation\.adjust to false"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_shows_only_in_a_step_is_refused_there():
    rising = GroupedDropout(Linear(0.0, 3.0), Constant(0.1))
    with pytest.raises(ValueError, match=r"with_weights of GroupedDropout must be in \[0, 1\], but is 1\.5"):
        masks(rising, edges=2, clock=Moment(5.0, 5.0, 10.0, 10.0))
    with pytest.raises(ValueError, match="drops operations, not edges"):
        masks(rates(0.1), mask=torch.ones(2, 3, dtype=torch.bool), names=())
