"""The second order with clipped gradients, as recurrent DARTS has it, against its formula in float64."""

import pytest
import torch

from lit_nas.optim import unrolled_gradient

ETA, DECAY = 0.7, 0.05


def problem():
    generator = torch.Generator().manual_seed(3)
    w = [torch.nn.Parameter(torch.randn(4, generator=generator).double()) for _ in range(2)]
    alpha = torch.nn.Parameter(torch.randn(3, generator=generator).double())
    a, b = (torch.randn(3, 4, generator=generator).double() for _ in range(2))

    def training(w, alpha):
        return ((alpha @ a) * w[0] + w[1]).sin().sum() + (w[0] * w[1]).square().sum() * alpha.square().sum()

    def validation(w, alpha):
        return ((alpha @ b) * w[1] - w[0]).cos().sum() + (w[0] @ w[1]) * alpha.sum()

    return w, alpha, training, validation


def clipped(gradient, clip):
    norm = torch.cat(gradient).norm()
    kappa = min(1.0, clip / (float(norm) + 1e-6))
    return [kappa * each for each in gradient], kappa


@pytest.mark.parametrize("clip", [0.25, 1e6])  # clips, does not
def test_the_clipped_second_order_is_its_formula(clip):
    w, alpha, training, validation = problem()
    optimizer = torch.optim.SGD(w, lr=ETA, weight_decay=DECAY)
    found, _ = unrolled_gradient(
        lambda: [validation(w, alpha)], lambda: [training(w, alpha)], w, [alpha], optimizer, clip=clip
    )
    g, kappa = clipped(torch.autograd.grad(training(w, alpha), w), clip)
    moved = [(x - ETA * (each + DECAY * x)).detach().requires_grad_() for x, each in zip(w, g, strict=True)]
    direct, *q = torch.autograd.grad(validation(moved, alpha), [alpha, *moved])
    q, _ = clipped(q, clip)
    epsilon = 0.01 / torch.cat(q).norm()
    above, below = (
        torch.autograd.grad(training([x + sign * epsilon * d for x, d in zip(w, q, strict=True)], alpha), alpha)[0]
        for sign in (1, -1)
    )
    expected = direct - ETA * kappa * (above - below) / (2 * epsilon)
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-10)
    assert (kappa < 1) == (clip == 0.25)
    plain, _ = unrolled_gradient(lambda: [validation(w, alpha)], lambda: [training(w, alpha)], w, [alpha], optimizer)
    assert torch.allclose(plain[0], found[0], rtol=1e-9) == (clip != 0.25)
    exact, _ = unrolled_gradient(
        lambda: [validation(w, alpha)], lambda: [training(w, alpha)], w, [alpha], optimizer, "exact", clip=clip
    )
    torch.testing.assert_close(exact[0], found[0], rtol=1e-2, atol=1e-3)
