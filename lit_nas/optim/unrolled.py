"""Second order: the gradient of the validation loss after one virtual step of the weights.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, equations 6 to 8. The virtual step includes
momentum and weight decay, as in the authors' code (quark0/darts, `cnn/architect.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from lit_nas.optim.freezing import frozen

__all__ = ("accumulate", "check_unrollable", "unrolled_gradient", "virtual_step")

Losses = Callable[[], Iterable[Tensor]]
"""Makes the terms of a loss one after the other, so that only one graph exists at a time."""
Gradients = list[Tensor]


def check_unrollable(optimizer: Optimizer) -> None:
    """Refuses optimisers whose step is not written down here.

    Raises:
        ValueError: unless it is plain SGD with one parameter group.
    """
    if not isinstance(optimizer, SGD) or len(optimizer.param_groups) != 1 or optimizer.param_groups[0]["maximize"]:
        raise ValueError(
            "The second order unrolls one step of torch.optim.SGD (one parameter group, not maximising), but "
            f"model.optim.weights made {type(optimizer).__name__} with {len(optimizer.param_groups)} group(s). "
            "Choose SGD for the weights, or order: 1."
        )


@torch.no_grad()
def virtual_step(weights: Sequence[nn.Parameter], gradient: Gradients, optimizer: Optimizer) -> tuple[Gradients, float]:
    """The direction that the next step of SGD would take, without taking it.

    Args:
        weights: The parameters of the optimiser, in its order.
        gradient: Of the training loss, one tensor per weight.
        optimizer: SGD; its momentum buffers are read.

    Returns:
        v with w' = w - lr * v, and the factor c with which the gradient enters v (1 unless dampening or Nesterov).
    """
    group = optimizer.param_groups[0]
    momentum, dampening = group["momentum"], group["dampening"]
    step = list(torch._foreach_add(gradient, list(weights), alpha=group["weight_decay"]))
    if not momentum:
        return step, 1.0
    buffers = [optimizer.state.get(weight, {}).get("momentum_buffer") for weight in weights]
    if all(buffer is None for buffer in buffers):  # torch starts the buffer at the first gradient, undampened
        average, factor = step, 1.0
    else:
        known = [torch.zeros_like(w) if b is None else b for w, b in zip(weights, buffers, strict=True)]
        average = list(torch._foreach_mul(known, momentum))
        torch._foreach_add_(average, step, alpha=1 - dampening)
        factor = 1.0 - dampening
    if group["nesterov"]:
        return list(torch._foreach_add(step, average, alpha=momentum)), 1.0 + momentum * factor
    return average, factor


def accumulate(losses: Iterable[Tensor], parameters: Sequence[Tensor]) -> tuple[Gradients, Tensor]:
    """Gradient of a sum of losses, which are made and freed one after the other.

    Args:
        losses: Terms, 0-dim each.
        parameters: With respect to these; one without a path to a term (a weight of a pruned candidate, say) counts
            as zero.

    Returns:
        One gradient per parameter, and the sum, detached.
    """
    gradient, total = None, None
    for loss in losses:
        if loss.requires_grad:
            new = list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
        else:  # a network that has lost every path computes a constant
            new = [torch.zeros_like(parameter) for parameter in parameters]
        if gradient is None or total is None:
            gradient, total = new, loss.detach()
        else:
            torch._foreach_add_(gradient, new)
            total = total + loss.detach()
        del loss, new
    if gradient is None or total is None:
        raise ValueError("There was no loss to differentiate.")
    return gradient, total


def _exact_product(
    training: Losses, weights: Sequence[nn.Parameter], logits: Sequence[nn.Parameter], direction: Gradients
) -> Gradients:
    def inner() -> Iterable[Tensor]:
        for loss in training():
            first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)
            yield sum(((g * d).sum() for g, d in zip(first, direction, strict=True)), start=loss.new_zeros(()))

    return accumulate(inner(), logits)[0]


def _central_difference(
    training: Losses, weights: Sequence[nn.Parameter], logits: Sequence[nn.Parameter], q: Gradients, radius: float
) -> Gradients:
    """The difference of the architecture gradients at w + epsilon q and w - epsilon q, over 2 epsilon (equation 8)."""
    norm = torch.stack(torch._foreach_norm(q)).norm().clamp_min(torch.finfo(q[0].dtype).tiny ** 0.5)
    epsilon = radius / norm
    offset = list(torch._foreach_mul(q, epsilon))
    with frozen(weights), _displaced(weights) as displace:
        displace(offset, 1.0)
        above, _ = accumulate(training(), logits)
        displace(offset, -1.0)
        below, _ = accumulate(training(), logits)
    return [(a - b) / (2 * epsilon) for a, b in zip(above, below, strict=True)]


@contextmanager
def _displaced(weights: Sequence[nn.Parameter]) -> Iterator[Callable[[Gradients, float], None]]:
    """Lets the live weights be moved, and puts them back bit for bit.

    Yields:
        What moves them: to where they were at first, plus a direction times a factor.
    """
    live = [weight.data for weight in weights]  # in-place changes of these are not seen by autograd
    saved = [weight.clone() for weight in live]

    def displace(direction: Gradients, factor: float) -> None:
        torch._foreach_copy_(live, saved)
        torch._foreach_add_(live, direction, alpha=factor)

    try:
        yield displace
    finally:
        torch._foreach_copy_(live, saved)


def unrolled_gradient(
    validation: Losses,
    training: Losses,
    weights: Sequence[nn.Parameter],
    logits: Sequence[nn.Parameter],
    optimizer: Optimizer,
    product: Literal["finite_difference", "exact"] = "finite_difference",
    radius: float = 0.01,
    reduce: Callable[[Gradients], Gradients] = lambda gradients: gradients,
    clip: float = 0.0,
) -> tuple[Gradients, Tensor]:
    """Gradient of L_val(w - xi * v(w, alpha), alpha) with respect to alpha, where xi is the current lr.

    The live weights are moved and put back bit for bit; nothing is copied but one set of weights. Losses must not
    update state, such as running statistics.

    Args:
        validation: Makes L_val at the present weights and architecture, in one or more terms.
        training: Makes L_train in the same way.
        weights: w, the parameters of `optimizer` in its order.
        logits: alpha.
        optimizer: SGD of the weights, see `check_unrollable`.
        product: How the Hessian-vector product is computed: by central differences along q with step
            `radius / norm(q)` (equation 8), or exactly, by differentiating twice (more memory; the network must
            support it).
        radius: Length of the finite-difference step in weight space; the paper has 0.01.
        reduce: Averages gradients over processes. It is applied before anything that is not linear in them.
        clip: Largest norm of the gradient in the virtual step, and of that of the validation loss by the weights, as
            recurrent DARTS has it (quark0/darts, `rnn/architect.py`); 0 does not clip. The implicit term is then
            multiplied by kappa = min(1, clip / (norm + 1e-6)) as well, with kappa held still when alpha changes. The
            authors' code multiplies by the quotient even where that is above 1 and nothing was clipped.

    Returns:
        One gradient per tensor of `logits`, and the validation loss after the virtual step.
    """
    xi = float(optimizer.param_groups[0]["lr"])
    logits, weights = list(logits), list(weights)

    with frozen(logits):
        gradient = reduce(accumulate(training(), weights)[0])
    gradient, kappa = _clipped(gradient, clip)
    step, factor = virtual_step(weights, gradient, optimizer)

    # equation 6: the validation loss at w - xi v
    with _displaced(weights) as displace:
        displace(step, -xi)
        both, value = accumulate(validation(), [*logits, *weights])
    both = reduce(both)
    direct, (q, _) = both[: len(logits)], _clipped(both[len(logits) :], clip)

    # equation 7: how that point moves with alpha, the mixed derivative of L_train times q
    if product == "exact":
        implicit = reduce(_exact_product(training, weights, logits, q))
    else:
        implicit = reduce(_central_difference(training, weights, logits, q, radius))
    return [d - xi * factor * kappa * h for d, h in zip(direct, implicit, strict=True)], value


def _clipped(gradient: Gradients, largest: float) -> tuple[Gradients, float | Tensor]:
    """A gradient whose norm is limited, and the factor by which it was multiplied; 0 does not limit it."""
    if not largest:
        return gradient, 1.0
    norm = torch.stack(torch._foreach_norm(gradient)).norm()
    kappa = (largest / (norm + 1e-6)).clamp(max=1.0)
    return list(torch._foreach_mul(gradient, kappa)), kappa
