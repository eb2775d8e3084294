"""A node of a recurrent search cell: all activations of all states that it reads, with a backward pass of its own.

With (c, v) = split(product), P_j the sum of p_jk over the activations k and A_j that of p_jk act_k(v_j), the node is

    sum_jk p_jk (s_j + sigma(c_j) (act_k(v_j) - s_j)) = sum_j P_j s_j + sigma(c_j) (A_j - P_j s_j)

Autograd would keep and pass over each term by itself, which took about a third of a step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from lit_nas.operations import ACTIVATIONS

__all__ = ("mix_activations", "mix_by_autograd")


def _slope_of_relu(value: Tensor, result: Tensor) -> Tensor:
    return (value > 0).to(value.dtype)


SLOPES: Mapping[str, Callable[[Tensor, Tensor], Tensor | float]] = {
    "tanh": lambda value, result: 1 - result * result,
    "relu": _slope_of_relu,
    "sigmoid": lambda value, result: result * (1 - result),
    "identity": lambda value, result: 1.0,
}
"""By the name of an activation its derivative, from its argument and its result."""


def mix_activations(states: Tensor, product: Tensor, weights: Tensor, names: Sequence[str]) -> Tensor:
    """A node before its BatchNorm, [B, d]; it can be differentiated as often as wanted.

    Args:
        states: s_j, [i, B, d].
        product: Of the masked states and the weights of the node, [i, B, 2d].
        weights: p_jk, [K, i].
        names: Of the K activations.
    """
    if not names:
        return torch.zeros_like(states[0])
    node: Tensor = _Mix.apply(states, product, weights, tuple(names))  # type: ignore[no-untyped-call]
    return node


def mix_by_autograd(states: Tensor, product: Tensor, weights: Tensor, names: Sequence[str]) -> Tensor:
    """The same with the derivatives of autograd.

    Args:
        states: s_j, [i, B, d].
        product: Of the masked states and the weights of the node, [i, B, 2d].
        weights: p_jk, [K, i].
        names: Of the K activations.
    """
    gate, value = product.chunk(2, -1)
    columns = weights[:, :, None, None]
    mixed = sum((column * ACTIVATIONS[name](value) for column, name in zip(columns, names, strict=True)), value * 0.0)
    return torch.lerp(columns.sum(0) * states, mixed, gate.sigmoid()).sum(0)


class _Mix(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, product: Tensor, weights: Tensor, names: tuple[str, ...]) -> Tensor:
        gate, value = product.chunk(2, -1)
        gate, columns = gate.sigmoid(), weights[:, :, None, None]
        results = [ACTIVATIONS[name](value) for name in names]
        mixed = columns[0] * results[0]
        for column, result in zip(columns[1:], results[1:], strict=True):
            mixed.addcmul_(column, result)
        ctx.names = names
        # those of cheap activations are computed again
        kept = [result for name, result in zip(names, results, strict=True) if name in ("tanh", "sigmoid")]
        ctx.save_for_backward(states, product, weights, gate, mixed, *kept)
        return torch.lerp(columns.sum(0) * states, mixed, gate).sum(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, product, weights, gate, mixed, *kept = ctx.saved_tensors
        (gradient,) = gradients
        if torch.is_grad_enabled():  # it is to be differentiated again
            inputs = [states, product, weights]
            wanted = [each for each, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
            node = mix_by_autograd(states, product, weights, ctx.names)
            found = iter(torch.autograd.grad(node, wanted, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:3]), None
        width, total = states.shape[-1], weights.sum(0)[:, None, None]
        value, results = product[..., width:], iter(kept)
        through = gradient * gate  # by the mixed activations
        around = gradient - through
        slope: Tensor | float = 0.0
        by_weights = []
        for weight, name in zip(weights[:, :, None, None], ctx.names, strict=True):
            result = next(results) if name in ("tanh", "sigmoid") else ACTIVATIONS[name](value)
            slope = slope + weight * SLOPES[name](value, result)
            if ctx.needs_input_grad[2]:
                by_weights.append(_dot(through, result))
        by_product = torch.empty_like(product)
        torch.mul(slope, through, out=by_product[..., width:])
        difference = torch.addcmul(mixed, total, states, value=-1)
        torch.mul(difference.mul_(through), 1 - gate, out=by_product[..., :width])
        own = torch.stack(by_weights) + _dot(around, states) if by_weights else None
        return total * around, by_product, own, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[i, B, d] twice -> sums of the products, [i]."""
    return torch.bmm(a.reshape(len(a), 1, -1), b.reshape(len(b), -1, 1)).view(-1)
