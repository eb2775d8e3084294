"""Second order against closed forms, real optimiser steps and exact differentiation."""

import pytest
import torch
from torch import nn

from lit_nas.optim import accumulate, check_unrollable, unrolled_gradient, virtual_step

torch.set_num_threads(1)


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def toy(lr: float, product: str, momentum: float = 0.0) -> float:
    """The example of section 2.3: L_val = a w - 2 a + 1, L_train = w^2 - 2 a w + a^2, at (a, w) = (2, -2)."""
    a, w = parameter(2.0), parameter(-2.0)
    optimizer = torch.optim.SGD([w], lr=lr, momentum=momentum)
    (gradient,), _ = unrolled_gradient(
        lambda: [(a * w - 2 * a + 1).sum()], lambda: [(w**2 - 2 * a * w + a**2).sum()], [w], [a], optimizer, product
    )
    assert w.item() == -2.0
    assert a.item() == 2.0
    return gradient.item()


@pytest.mark.parametrize("product", ["finite_difference", "exact"])
@pytest.mark.parametrize(("lr", "expected"), [(0.0, -4.0), (0.1, -2.8), (0.5, 2.0)])
def test_closed_form_of_the_paper(lr, expected, product):
    assert toy(lr, product) == pytest.approx(expected, abs=1e-9)


def test_descent_ends_where_the_paper_says():
    for lr, end in ((0.0, (2.0, 2.0)), (0.5, (1.0, 1.0))):
        a, w = parameter(2.0), parameter(-2.0)
        weights = torch.optim.SGD([w], lr=lr)
        for _ in range(200):
            (gradient,), _ = unrolled_gradient(
                lambda: [(a * w - 2 * a + 1).sum()], lambda: [(w**2 - 2 * a * w + a**2).sum()], [w], [a], weights
            )
            a.data -= 0.1 * gradient
            w.data -= 0.2 * (2 * w.data - 2 * a.data)
        assert (a.item(), w.item()) == pytest.approx(end, abs=1e-3)


class Tiny(nn.Module):
    """Smooth in weights and in alpha, so that differences converge."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 3)
        self.alpha = nn.Parameter(torch.randn(2, 4))
        self.double()

    def loss(self, x, y):
        p = self.alpha.softmax(-1)
        h = self.first(x)
        h = p[0, 0] * h + p[0, 1] * h.tanh() + p[0, 2] * h.sin() + p[0, 3] * h.sigmoid()
        z = self.second(h)
        return nn.functional.cross_entropy(p[1, 0] * z + p[1, 1] * z.tanh() + p[1, 2] * z.sin() + p[1, 3], y)

    @property
    def weights(self):
        return [*self.first.parameters(), *self.second.parameters()]


def setup(seed: int, **sgd):
    torch.manual_seed(seed)
    net = Tiny()
    data = [(torch.randn(9, 5, dtype=torch.float64), torch.randint(3, (9,))) for _ in range(4)]
    optimizer = torch.optim.SGD(net.weights, **sgd)
    return net, data, optimizer


def warm(net, data, optimizer, steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        net.loss(*data[step % 2]).backward()
        optimizer.step()
    optimizer.zero_grad()
    net.alpha.grad = None


SGDS = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.03},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-3},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 3e-3},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 3e-3},
]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("sgd", SGDS)
def test_virtual_step_is_the_next_step_of_sgd(sgd, steps):
    net, data, optimizer = setup(0, **sgd)
    warm(net, data, optimizer, steps)
    gradient = list(torch.autograd.grad(net.loss(*data[2]), net.weights))
    step, _ = virtual_step(net.weights, gradient, optimizer)
    expected = [w.detach() - sgd["lr"] * v for w, v in zip(net.weights, step, strict=True)]
    net.loss(*data[2]).backward()
    optimizer.step()
    for w, e in zip(net.weights, expected, strict=True):
        torch.testing.assert_close(w.detach(), e, rtol=1e-14, atol=1e-15)


def differentiated_through(net, data, optimizer, xi):
    """The definition, by autograd through the whole step, with torch's own SGD written out functionally."""
    group = optimizer.param_groups[0]
    weights = net.weights
    gradient = torch.autograd.grad(net.loss(*data[2]), weights, create_graph=True)
    moved = []
    for w, g in zip(weights, gradient, strict=True):
        g = g + group["weight_decay"] * w
        buffer = optimizer.state[w].get("momentum_buffer")
        average = g if buffer is None else group["momentum"] * buffer + (1 - group["dampening"]) * g
        if group["momentum"] and not group["nesterov"]:
            g = average
        elif group["nesterov"]:
            g = g + group["momentum"] * average
        moved.append(w - xi * g)
    names = [name for name, _ in net.named_parameters() if name != "alpha"]
    # the validation loss at moved weights and the same alpha
    loss = _functional_loss(net, dict(zip(names, moved, strict=True)), data[3])
    return torch.autograd.grad(loss, net.alpha)[0]


def _functional_loss(net, weights, pair):
    class Call(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, y):
            return self.net.loss(x, y)

    call = Call()
    state = {f"net.{name}": value for name, value in weights.items()} | {"net.alpha": net.alpha}
    return torch.func.functional_call(call, state, pair)


@pytest.mark.parametrize(("product", "tolerance"), [("exact", 1e-12), ("finite_difference", 1e-3)])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("sgd", SGDS)
def test_equals_differentiation_through_the_step(sgd, steps, product, tolerance):
    net, data, optimizer = setup(1, **sgd)
    warm(net, data, optimizer, steps)
    before = [w.detach().clone() for w in net.weights]
    expected = differentiated_through(net, data, optimizer, sgd["lr"])
    (gradient,), _ = unrolled_gradient(
        lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], net.weights, [net.alpha], optimizer, product
    )
    first = torch.autograd.grad(net.loss(*data[3]), net.alpha)[0]
    assert (expected - first).norm() > 1e-3 * first.norm()  # the second order has something to say
    assert (gradient - expected).norm() <= tolerance * (expected - first).norm()
    for w, b in zip(net.weights, before, strict=True):
        assert torch.equal(w, b)
        assert w.grad is None
        assert w.requires_grad


def test_finite_difference_error_falls_with_the_square_of_the_radius():
    net, data, optimizer = setup(2, lr=0.1, momentum=0.9)
    losses = (lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], net.weights, [net.alpha], optimizer)
    (exact,), _ = unrolled_gradient(*losses, "exact")
    errors = []
    for radius in (0.4, 0.2, 0.1):
        (gradient,), _ = unrolled_gradient(*losses, "finite_difference", radius)
        errors.append((gradient - exact).norm().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.2)


def test_learning_rate_zero_is_first_order():
    net, data, optimizer = setup(3, lr=0.0, momentum=0.9, weight_decay=0.1)
    (gradient,), value = unrolled_gradient(
        lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], net.weights, [net.alpha], optimizer
    )
    loss = net.loss(*data[3])
    assert torch.equal(gradient, torch.autograd.grad(loss, net.alpha)[0])
    assert value == loss


def test_weights_without_influence_count_as_zero():
    net, data, optimizer = setup(4, lr=0.1)
    lonely = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([*net.weights, lonely], lr=0.1, weight_decay=0.1)
    with_it, _ = unrolled_gradient(
        lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], [*net.weights, lonely], [net.alpha], optimizer
    )
    optimizer = torch.optim.SGD(net.weights, lr=0.1, weight_decay=0.1)
    without, _ = unrolled_gradient(
        lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], net.weights, [net.alpha], optimizer
    )
    torch.testing.assert_close(with_it[0], without[0], rtol=1e-12, atol=0)


def test_zero_gradient_gives_zero_not_nan():
    a, w = parameter(1.0), parameter(1.0)
    optimizer = torch.optim.SGD([w], lr=0.1)
    (gradient,), _ = unrolled_gradient(lambda: [(3 * a + 0 * w).sum()], lambda: [(a * w**2).sum()], [w], [a], optimizer)
    assert gradient.item() == 3.0


def test_weights_come_back_after_an_error():
    net, data, optimizer = setup(5, lr=0.5)
    before = [w.detach().clone() for w in net.weights]
    calls = []

    def fails():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return [net.loss(*data[2])]

    with pytest.raises(RuntimeError, match="out of memory"):
        unrolled_gradient(lambda: [net.loss(*data[3])], fails, net.weights, [net.alpha], optimizer)
    assert all(torch.equal(w, b) and w.requires_grad for w, b in zip(net.weights, before, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p),
        lambda p: torch.optim.SGD([{"params": p[:1]}, {"params": p[1:]}], lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
    ],
)
def test_other_optimisers_are_refused(make):
    with pytest.raises(ValueError, match=r"torch.optim.SGD .* or order: 1"):
        check_unrollable(make(setup(0, lr=0.1)[0].weights))


@pytest.mark.parametrize("product", ["finite_difference", "exact"])
def test_terms_of_a_loss_add_up(product):
    net, data, optimizer = setup(6, lr=0.1, momentum=0.9)

    def terms(pair):
        return ((net.loss(x, y) * len(y) / 9) for x, y in zip(pair[0].split(4), pair[1].split(4), strict=True))

    arguments = net.weights, [net.alpha], optimizer, product
    (whole,), value = unrolled_gradient(lambda: [net.loss(*data[3])], lambda: [net.loss(*data[2])], *arguments)
    (parts,), sum_ = unrolled_gradient(lambda: terms(data[3]), lambda: terms(data[2]), *arguments)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sum_, value, rtol=1e-12, atol=0)


def test_nothing_to_differentiate_is_an_error():
    with pytest.raises(ValueError, match="no loss"):
        accumulate([], [parameter(1.0)])
