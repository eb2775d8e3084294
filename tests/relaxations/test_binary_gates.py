"""Binary gates: how often they are drawn, the gradient of the paper, and what a step of two paths leaves alone."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.clock import Moment
from lit_nas.methods.proxylessnas import PAPER
from lit_nas.relaxations import BinaryGates, Occasion
from lit_nas.relaxations.draw import generator_of
from tests.support.tiny import SPACE

NOW = Moment(0.0, 0.0)


def drawn(logits, paths="two", level="arch", mask=None, seed=0):
    mask = torch.ones_like(logits, dtype=torch.bool) if mask is None else mask
    relaxation = BinaryGates(paths)
    return relaxation, relaxation.draw(logits.detach(), mask, NOW, Occasion((), level, generator_of(seed))), mask


def columns_of(active):
    return torch.tensor(active).flatten()


def chi_square(found, probabilities):
    expected = probabilities * found.sum()
    return float(((found - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(("paths", "level"), [("two", "weights"), ("all", "arch"), ("all", "weights"), ("one", "arch")])
def test_a_path_is_drawn_as_often_as_it_is_probable(paths, level):
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0], dtype=torch.float64)
    _, draw, _ = drawn(logits.expand(20_000, 4), paths, level)
    counts = torch.bincount(columns_of(draw.active), minlength=4).double()
    assert chi_square(counts, logits.softmax(0)) < 16.3  # 3 degrees of freedom, p = 0.001


def test_pairs_are_drawn_without_replacement_and_one_of_both_is_the_path():
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0], dtype=torch.float64)
    _, draw, _ = drawn(logits.expand(20_000, 4))
    path, other = columns_of(draw.active), columns_of(draw.probed)
    assert not (path == other).any()
    p = logits.softmax(0)
    probabilities = torch.zeros(4, 4, dtype=torch.float64)
    for a in range(4):
        for b in range(4):
            if a != b:
                pair = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
                probabilities[a, b] = pair * p[a] / (p[a] + p[b])  # a is the path
    counts = torch.bincount(path * 4 + other, minlength=16).double().view(4, 4)
    apart = ~torch.eye(4, dtype=torch.bool)
    torch.testing.assert_close(probabilities.sum(), torch.ones((), dtype=torch.float64))
    assert chi_square(counts[apart], probabilities[apart]) < 31.3  # 11 degrees of freedom, p = 0.001


def test_the_gradient_of_the_sheet():
    logits = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64).log().requires_grad_()
    relaxation, draw, mask = drawn(logits, "all")
    gates = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    (found,) = torch.autograd.grad((relaxation.weights(logits, mask, NOW, draw) * gates).sum(), logits)
    torch.testing.assert_close(found, torch.tensor([[-0.36, -0.24, 0.60]], dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_two_paths_move_against_each_other(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 6, dtype=torch.float64, generator=generator).requires_grad_()
    gates = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    relaxation, draw, mask = drawn(logits, seed=seed)
    weights = relaxation.weights(logits, mask, NOW, draw)
    assert torch.equal(weights.detach(), F.one_hot(columns_of(draw.active), 6).double())
    (found,) = torch.autograd.grad((weights * gates).sum(), logits)
    for row in range(3):
        pair = [*draw.active[row], *draw.probed[row]]
        q, g = logits[row, pair].detach().softmax(0), gates[row, pair]
        torch.testing.assert_close(found[row, pair], q * (g - (q * g).sum()))
        assert not found[row, [column for column in range(6) if column not in pair]].any()
        torch.testing.assert_close(relaxation.expected(logits, mask, NOW, draw)[row, pair], q)
    assert torch.equal(relaxation.expected(logits, mask, NOW, draw).detach() > 0, draw.numbers[1] > 0)


def test_rescaling_by_hand():
    before = torch.tensor([[0.0, 0.5, 1.0, -1.0]], dtype=torch.float64)
    after = torch.tensor([[0.0, 0.6, 1.0, -1.2]], dtype=torch.float64)
    relaxation, draw, _ = drawn(before)
    draw.numbers[1] = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    e = torch.tensor([0.6, -1.2, 0.5, -1.0], dtype=torch.float64).exp()
    c = ((e[0] + e[1]) / (e[2] + e[3])).log()
    settled = relaxation.settled(before, after, torch.ones_like(before, dtype=torch.bool), draw)
    expected = torch.stack([before[0, 0], 0.6 - c, before[0, 2], -1.2 - c])
    torch.testing.assert_close(settled[0], expected, rtol=1e-14, atol=1e-14)
    assert relaxation.settles
    assert not BinaryGates("all").settles


def test_what_an_optimiser_moves_besides_is_put_back():
    before = torch.tensor([[0.0, 0.5, 1.0, -1.0]], dtype=torch.float64)
    relaxation, draw, _ = drawn(before)
    draw.numbers[1] = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    moved = before + torch.tensor([[0.3, 0.1, -0.2, -0.2]], dtype=torch.float64)  # as momentum does
    settled = relaxation.settled(before, moved, torch.ones_like(before, dtype=torch.bool), draw)
    assert torch.equal(settled[0, [0, 2]], before[0, [0, 2]])
    chances = [each.softmax(-1)[0, [0, 2]] for each in (before, settled)]
    torch.testing.assert_close(*chances, rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_of_two_paths_changes_no_other_probability(seed):
    torch.manual_seed(seed)
    architecture = Architecture(SPACE, BinaryGates()).double()
    with torch.no_grad():
        for logits in architecture.parameters():
            logits.normal_()
    before = architecture.probabilities()
    optimizer = partial(PAPER.arch, lr=0.3)(architecture.parameters())
    with architecture.drawing("arch"):
        mixture = architecture()
        sum((cell.weights * torch.randn_like(cell.weights)).sum() for cell in mixture).backward()
        with architecture.settling():
            optimizer.step()
    for name, cell in {position.cell: cell for position, cell in zip(SPACE.layout, mixture, strict=True)}.items():
        moved = architecture.probabilities()[name] - before[name]
        for row, pair in enumerate(a + b for a, b in zip(cell.active, cell.probed, strict=True)):
            others = [column for column in range(8) if column not in pair]
            assert moved[row, others].abs().max() < 1e-12
            assert abs(float(moved[row, list(pair)].sum())) < 1e-12
            assert float(moved[row, list(pair)].prod()) < 0  # one rises, the other falls


def test_what_is_not_there_is_not_drawn():
    logits = torch.randn(4, 3, dtype=torch.float64)
    mask = torch.tensor([[True, False, True], [False, True, False], [False, False, False], [True, True, True]])
    relaxation, draw, _ = drawn(logits, mask=mask)
    pairs = [sorted(a + b) for a, b in zip(draw.active, draw.probed, strict=True)]
    assert pairs[:3] == [[0, 2], [1], []]
    assert [len(columns) for columns in draw.active] == [1, 1, 0, 1]
    settled = relaxation.settled(logits, logits + 1, mask, draw)
    assert settled.isfinite().all()
    torch.testing.assert_close(settled[1, 1], logits[1, 1])  # alone, it is certain whatever a step does
    assert relaxation.weights(logits, mask, NOW, draw).isfinite().all()
    everything = drawn(logits, "all", mask=mask)[1]
    assert [sorted(a + b) for a, b in zip(everything.active, everything.probed, strict=True)] == [
        [0, 2], [1], [], [0, 1, 2],
    ]  # fmt: skip


def test_unknown_paths_are_refused():
    with pytest.raises(ValueError, match=r"BinaryGates\.paths must be two, all or one, not 'three'"):
        BinaryGates("three")


def test_the_optimiser_of_the_paper_leaves_alone_what_has_no_gradient():
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = PAPER.arch([parameter])
    for gradient in ([1.0, 0.0], [0.0, 0.0]):
        before = parameter.detach().clone()
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        assert torch.equal(parameter.detach() != before, torch.tensor(gradient) != 0)


@pytest.mark.parametrize("paths", ["one", "all"])
def test_the_density_is_the_probability_of_the_path(paths):
    logits = torch.tensor([[0.3, -1.0, 1.2], [2.0, 0.1, -0.4], [0.0, 0.0, 0.0]], dtype=torch.float64).requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])
    relaxation, draw, _ = drawn(logits, paths, mask=mask)
    found = relaxation.log_density(logits, mask, NOW, draw)
    path = draw.numbers[0].bool()
    first, second = logits[0].log_softmax(-1)[path[0]], logits[1][[0, 2]].log_softmax(-1)[path[1][[0, 2]]]
    torch.testing.assert_close(found, torch.cat([first, second, torch.zeros(1, dtype=torch.float64)]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    p = relaxation.probabilities(logits, mask, NOW).detach()
    torch.testing.assert_close(gradient, path.double() - p)


def test_two_paths_have_no_density():
    logits = torch.zeros(2, 3, dtype=torch.float64)
    relaxation, draw, mask = drawn(logits, "two")
    with pytest.raises(ValueError, match="BinaryGates cannot say how probable what it draws is"):
        relaxation.log_density(logits, mask, NOW, draw)
