"""Masks of a window, penalties of hidden states, and hidden states that are carried."""

import pytest
import torch

from lit_nas.language import ActivationPenalty, HiddenStates, LanguageDropout, Masks, StatedWindow
from lit_nas.language.hidden_states import check_window
from lit_nas.windows import Window


def draw(seed=0, batch=4, rates=(0.1, 0.2, 0.75, 0.25, 0.5), width=6):
    return LanguageDropout(*rates).draw(9, batch, torch.zeros(9, width), torch.Generator().manual_seed(seed))


def test_masks_keep_the_mean():
    rates = 0.1, 0.2, 0.75, 0.25, 0.5
    masks = draw(batch=4000, width=50, rates=rates)
    for mask, rate in zip(masks[1:], rates[1:], strict=True):
        assert mask.shape == (4000, 50)
        assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / (1 - rate)).item()}
        assert mask.mean() == pytest.approx(1, abs=0.02)
    assert masks.words.shape == (9, 1)
    many = LanguageDropout(0.1).draw(10_000, 1, torch.zeros(1, 1), torch.Generator().manual_seed(1)).words
    assert many.mean() == pytest.approx(1, abs=0.02)


def test_a_generator_decides_and_a_rate_of_zero_draws_nothing():
    first, again, other = draw(0), draw(0), draw(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert draw(rates=(0, 0, 0, 0, 0)) == Masks()
    part = first.columns(1, 3)
    assert torch.equal(part.states, first.states[1:3])
    assert torch.equal(part.words, first.words)
    assert Masks().columns(0, 2) == Masks()
    with pytest.raises(ValueError, match=r"model\.dropout\.states must be in \[0, 1\), but is 1"):
        LanguageDropout(states=1.0)


def test_penalties():
    constant, zero = torch.full((3, 2, 4), 0.7), torch.zeros(3, 2, 4)
    changing = torch.randn(3, 2, 4)
    assert ActivationPenalty(0.0, 2.0)(constant, changing) == 0
    assert ActivationPenalty(2.0, 0.0)(changing, zero) == 0
    steps = [(changing[i + 1] - changing[i]).square().mean() for i in range(2)]
    expected = 0.5 * changing.square().mean() + 2.0 * sum(steps) / 2
    torch.testing.assert_close(ActivationPenalty(0.5, 2.0)(changing, changing), expected)
    assert ActivationPenalty(0.0, 1.0)(changing[:1], changing[:1]) == 0  # no step, so no change
    with pytest.raises(ValueError, match=r"model\.penalty\.tar must not be negative, but is -1"):
        ActivationPenalty(tar=-1)


def window(first=False, batch=4):
    tokens = torch.arange(3 * batch).view(3, batch)
    return Window(tokens, tokens + 1, first, 0.5)


def test_states_are_carried_from_window_to_window_and_parts_join():
    hidden, zeros = HiddenStates(), torch.zeros(4, 2)
    begun = hidden.begin("weights", window(True), zeros)
    assert torch.equal(begun.state, zeros)
    assert begun.share == 0.5
    for part in begun.cut(3)[::-1]:  # in any order
        hidden.note(part, torch.full((part.tokens.shape[1], 2), 100.0))  # of a pass before
        hidden.note(part, part.tokens[0][:, None].expand(-1, 2) + 1.0)
    assert "weights" not in hidden.states  # not before the end of the step
    hidden.carry()
    assert hidden.states["weights"][:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert torch.equal(hidden.begin("weights", window(), zeros).state, hidden.states["weights"])
    assert torch.equal(hidden.begin("arch", window(), zeros).state, zeros)  # another stream
    assert torch.equal(hidden.begin("weights", window(True), zeros).state, zeros)  # another pass
    hidden.states["val"] = zeros
    assert set(hidden.state_dict()) == {"weights"}
    with pytest.raises(ValueError, match=r"has 2 sequences, but the one before had 4"):
        hidden.begin("weights", window(batch=2), torch.zeros(2, 2))


def test_parts_take_states_and_masks_along():
    whole = StatedWindow(*window()[:2], torch.arange(8.0).view(4, 2), masks=draw())
    parts = whole.cut(3)  # 2 + 2 by chunks of two
    assert [(part.start, part.batch, part.tokens.shape[1]) for part in parts] == [(0, 4, 2), (2, 4, 2)]
    assert torch.equal(torch.cat([part.state for part in parts]), whole.state)
    assert torch.equal(torch.cat([part.masks.outputs for part in parts]), whole.masks.outputs)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            (torch.zeros(2, 2), torch.zeros(2)),
            r"A batch is a tuple of 2 .*, but a `lit_nas.windows.Window`",
        ),
        (Window(torch.zeros(2, 2), torch.zeros(2, 2)), r"type torch.float32"),
        (Window(torch.zeros(2, 2).long(), torch.zeros(2, 3).long()), r"targets of shape \[2, 3\]"),
        (Window(torch.zeros(0, 2).long(), torch.zeros(0, 2).long()), r"tokens of shape \[0, 2\]"),
    ],
)
def test_what_is_no_window_is_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        check_window(batch, "A batch")
