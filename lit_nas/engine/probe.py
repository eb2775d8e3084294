"""Candidates that take no part: the gradient of the loss by their weights, without what a gradient by them would cost.

Paper: Cai, Zhu, Han, ICLR 2019, https://arxiv.org/abs/1812.00332 (ProxylessNAS, section 3.2). For a node that is the
sum of w_o * o(x), the gradient by w_o is the scalar product of o(x) and the gradient by the node, whatever w_o is. So a
candidate of weight 0 need not run in the forward pass: the backward pass runs it, keeps one number, and forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lit_nas.architecture import CellMixture
from lit_nas.edges import Edge
from lit_nas.engine.engine import MixedCell, edges_of
from lit_nas.precision import present_autocast

__all__ = ("probe",)


def probe(cell: MixedCell, mixture: CellMixture, target: int, node: Tensor, states: Sequence[Tensor]) -> Tensor:
    """The node as it is; its backward pass also gives the weights of its probed candidates their gradients.

    Args:
        cell: Whose node it is.
        mixture: With the candidates that are probed; edges of which nothing is executed probe nothing.
        target: Number of the state that the node is.
        node: The sum of all its terms.
        states: At least those that its edges leave.
    """
    if not mixture.probed:
        return node
    edges, names, probes, sources = edges_of(cell), cell.space.operations, [], []
    for index, (source, end) in enumerate(cell.space.edges):
        if end == target and mixture.active[index] and mixture.probed[index]:
            probed, active = (
                tuple((column, names[column]) for column in columns[index])
                for columns in (mixture.probed, mixture.active)
            )
            probes.append(_Probe(index, edges[index], probed, active))
            sources.append(states[source])
    if not probes:
        return node
    value: Tensor = _Probed.apply(node, mixture.weights, mixture.beside, tuple(probes), *sources)
    return value


@dataclass(frozen=True, eq=False)
class _Probe:
    """What is probed on one edge."""

    index: int
    edge: Edge
    names: tuple[tuple[int, str], ...]
    """Column and name of each candidate."""
    active: tuple[tuple[int, str], ...]
    """Those of the candidates that are executed."""

    def gradients(self, x: Tensor, weights: Tensor, beside: Tensor | None, gradient: Tensor) -> Iterator[Tensor]:
        """That of the loss by the weight of each candidate, in their order, 0-dim.

        Args:
            x: The state that the edge leaves.
            weights: Those of the edge, [O].
            beside: Factor of what the edge computes beside its candidates, 0-dim; None is 1.
            gradient: Of the loss by the node.
        """
        fusible = self.edge.fusible
        alone = nn.ModuleDict() if fusible is None else fusible.operations
        apart = tuple(name for name in self.names if name[1] not in alone)  # which may depend on each other
        executed = tuple(name for name in self.active if name[1] not in alone)
        found = self._together(apart, (*executed, *apart), x, weights, beside, gradient) if apart and executed else ()
        known = dict(zip(apart, found, strict=False))
        for name in self.names:
            if name in known:
                yield known[name]
            elif name in apart:
                # a merged kernel of which nothing is executed is not linear at weight 0, but along its own weight
                yield from self._together((name,), (name,), x, torch.ones_like(weights), beside, gradient)
            elif fusible is not None and fusible.join is None:
                out = alone[name[1]](x)
                yield (out.to(weights.dtype) * gradient.to(weights.dtype)).sum()
            else:  # linear in the candidates, so that one of them is enough
                yield from self._together((name,), (name,), x, weights, beside, gradient)

    def _together(
        self,
        wanted: tuple[tuple[int, str], ...],
        executed: tuple[tuple[int, str], ...],
        x: Tensor,
        weights: Tensor,
        beside: Tensor | None,
        gradient: Tensor,
    ) -> tuple[Tensor, ...]:
        leaves = {name: weights[column].detach().requires_grad_() for column, name in sorted(executed)}
        with torch.enable_grad():
            out = self.edge(x, leaves, beside)
            return torch.autograd.grad(out, [leaves[name] for _, name in wanted], gradient.to(out.dtype))


class _Probed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, node: Tensor, weights: Tensor, beside: Tensor | None, probes: tuple[_Probe, ...], *sources: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weights, beside, *sources)
        ctx.cast = present_autocast(node.device.type)
        ctx.probes = probes
        return node.view_as(node)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, beside, *sources = ctx.saved_tensors
        found = torch.zeros_like(weights)
        for each, x in zip(ctx.probes, sources, strict=True):
            factor = None if beside is None else beside[each.index]
            with ctx.cast(), _unseen(each.edge):
                values = list(each.gradients(x.detach(), weights[each.index], factor, gradient))
            for (column, _), value in zip(each.names, values, strict=True):
                found[each.index, column] = value
        return gradient, found, None, None, *(None for _ in sources)


@contextmanager
def _unseen(edge: Edge) -> Iterator[None]:
    """Lets an edge compute without a trace in its running statistics."""
    tracking = [vars(module) for module in edge.modules() if vars(module).get("track_running_stats")]
    for attributes in tracking:
        attributes["track_running_stats"] = False
    try:
        yield
    finally:
        for attributes in tracking:
            attributes["track_running_stats"] = True
