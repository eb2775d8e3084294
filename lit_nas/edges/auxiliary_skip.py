"""An edge with a shortcut outside the mixture, which no derivation sees.

Paper: Chu et al., "DARTS-", ICLR 2021, https://arxiv.org/abs/2009.01027, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan
from lit_nas.edges.mixed_edge import MixedEdge
from lit_nas.operations import BatchNorm, FactorizedReduce, OperationStyle, PointwiseConv

__all__ = ("AuxiliarySkip",)


@dataclass(frozen=True)
class AuxiliarySkip(EdgeKind):
    """Adds to the weighted sum of the candidates a shortcut, times the coefficient that the mixture has for it.

    Where the stride is 2 the shortcut is a factorised reduction with weights of its own, beside that of the candidate.

    Raises:
        ValueError: if the path is unknown.
    """

    path: Literal["identity", "conv_1x1"] = "identity"
    """What an edge of stride 1 has: the state itself, or a convolution that starts as the identity."""

    def __post_init__(self) -> None:
        if self.path not in ("identity", "conv_1x1"):
            raise ValueError(f"edges.path of AuxiliarySkip must be identity or conv_1x1, not {self.path!r}.")

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        shortcut = self._shortcut(plan.channels, plan.stride, plan.style)
        return MixedEdge(plan.names, plan.channels, plan.stride, plan.style, path=shortcut)

    def _shortcut(self, channels: int, stride: int, style: OperationStyle) -> nn.Module:
        if stride == 2:
            reduce = FactorizedReduce(channels, channels, style.affine)
            if not style.track_running_stats:
                for norm in reduce.modules():
                    if isinstance(norm, BatchNorm):
                        norm.untrack()
            return reduce
        if self.path == "identity":
            return nn.Identity()
        conv = PointwiseConv(channels, channels)
        nn.init.dirac_(conv.weight)
        return conv
