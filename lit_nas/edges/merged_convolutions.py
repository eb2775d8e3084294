"""Candidates merged into one kernel: an edge costs one convolution, however many of its candidates are convolutions.

Paper: Wang et al., "MergeNAS: merge operations into one for differentiable architecture search", IJCAI 2020,
https://doi.org/10.24963/ijcai.2020/424. There is no official code; what the paper leaves open is decided as in later
code of its first author (vicFigure/EAutoDet): one block instead of the two of a separable convolution, one depthwise
and one pointwise kernel for all candidates, and one ReLU before all that is in a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lit_nas.edges.edge import Edge, EdgeKind, EdgePlan, Fusible
from lit_nas.edges.merged_conv import MergedConv, Window
from lit_nas.operations import OperationStyle, build_operation, original

if TYPE_CHECKING:
    from lit_nas.spaces import SearchSpace

__all__ = ("FAMILIES", "MergedConvolutions", "MergedEdge")

FAMILIES: Mapping[str, Mapping[str, Window]] = {
    "depthwise": {
        "sep_conv_3x3": Window(3),
        "sep_conv_5x5": Window(5),
        "sep_conv_7x7": Window(7),
        "dil_conv_3x3": Window(3, 2),
        "dil_conv_5x5": Window(5, 2),
    },
    "dense": {"nor_conv_1x1": Window(1), "nor_conv_3x3": Window(3)},
}
"""Candidates that share a kernel: a depthwise one with a pointwise one behind it, or one from all to all channels."""
MEANS = {"skip_connect": 1, "avg_pool_3x3": 3, "avg_pool_5x5": 5}
"""Candidates that are linear without weights: means over windows. The identity is one where its stride is 1."""


class MergedEdge(Edge):
    """One kernel for each family of convolutions; all other candidates run beside it.

    Args:
        names: The candidates.
        channels: C.
        stride: 1 or 2.
        style: How they are normalised.
        kind: What is merged.

    Raises:
        ValueError: if means are to be folded where there are convolutions of both families.
    """

    def __init__(
        self, names: tuple[str, ...], channels: int, stride: int, style: OperationStyle, kind: MergedConvolutions
    ) -> None:
        super().__init__()
        self.stride = stride
        families = {
            family: {name: known[name] for name in names if name in known} for family, known in FAMILIES.items()
        }
        families = {family: windows for family, windows in families.items() if windows}
        folded = kind.folds(names, stride) if families else {}
        if folded and len(families) > 1:
            raise ValueError(
                "edges.fold of MergedConvolutions folds into one kernel, but an edge has convolutions of two kinds: "
                f"{', '.join(name for windows in families.values() for name in windows)}. Set edges.fold to false, or "
                "search one kind of them (model.space.operations)."
            )
        self.merged = nn.ModuleDict()
        self.members: dict[str, frozenset[str]] = {}
        for family, windows in families.items():
            depthwise = family == "depthwise"
            strides = [stride, *[1] * (kind.blocks - 1)] if depthwise else [stride]
            self.merged[family] = _Chain(
                MergedConv(windows, depthwise, channels, step, style, folded, kind.rescale, kind.recompute)
                for step in strides
            )
            self.members[family] = frozenset((*windows, *folded))
        others = [name for name in names if not any(name in members for members in self.members.values())]
        self.operations = nn.ModuleDict({name: build_operation(name, channels, stride, style) for name in others})

    @property
    def fusible(self) -> Fusible | None:
        """The candidates that are not merged; the kernels run as they are."""
        return Fusible(self.operations)

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`."""
        for family, blocks in self.merged.items():
            members = self.members[family]
            if active := {name: weight for name, weight in weights.items() if name in members}:
                yield blocks(x, active)
        yield from (weight * self.operations[name](x) for name, weight in weights.items() if name in self.operations)


class _Chain(nn.ModuleList):
    """Merged blocks, one after the other."""

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """As one block."""
        for block in self:
            x = block(x, weights)
        return x


@dataclass(frozen=True)
class MergedConvolutions(EdgeKind):
    """The convolutions of an edge share one kernel; pools and skip connections run beside it, or are folded into it.

    Separable and dilated convolutions are one family with one kernel, `nor_conv_*` are another.

    Raises:
        ValueError: if `blocks` is neither 1 nor 2, or is 2 where `fold` is asked for.
    """

    blocks: int = 1
    """How many blocks of ReLU, convolution and BatchNorm stand for separable and dilated convolutions: with 1 the edge
    is exactly the sum of its candidates before BatchNorm, 2 is the depth of a separable convolution."""
    fold: bool = False
    """Whether skip connections of stride 1 and average pools are parts of the kernel. They then see the state after the
    ReLU and share its BatchNorm, and the padding counts in the mean, without which a pool would not be linear in the
    way of a convolution. Max pools, skip connections of stride 2 and edges without a convolution stay as they are."""
    rescale: bool = True
    """Whether BatchNorm of a kernel is followed by the sum of the weights of its candidates. Without it only their
    ratios matter: neither convolutions as a whole compete with other candidates, nor does `none` with what is
    merged."""
    recompute: bool = False
    """Whether an edge keeps nothing but the state for its backward pass, and its convolution is computed twice: in the
    space of NAS-Bench-201, where one map for each edge is most of what is left."""

    def __post_init__(self) -> None:
        if self.blocks not in (1, 2):
            raise ValueError(f"edges.blocks of MergedConvolutions must be 1 or 2, not {self.blocks}.")
        if self.fold and self.blocks != 1:
            raise ValueError(
                "edges.fold of MergedConvolutions needs edges.blocks 1: what is linear cannot be folded into two "
                "convolutions with a ReLU between them."
            )

    def folds(self, names: tuple[str, ...], stride: int) -> dict[str, int]:
        """Which candidates of an edge are parts of its kernel, with the sides of their windows.

        Args:
            names: The candidates.
            stride: 1 or 2.
        """
        sizes = {name: MEANS[original(name)] for name in names if self.fold and original(name) in MEANS}
        return {name: size for name, size in sizes.items() if size > 1 or stride == 1}

    def check_space(self, space: SearchSpace) -> None:
        """See `EdgeKind`.

        Raises:
            ValueError: if there is no convolution that could be merged, or none that `blocks` is about.
        """
        names = {name for cell in space.cells.values() for name in cell.operations}
        if not any(names & set(known) for known in FAMILIES.values()):
            raise ValueError(
                f"MergedConvolutions merges {', '.join(name for known in FAMILIES.values() for name in known)}, but "
                f"the space '{space.name}' has none of them: {', '.join(sorted(names))}. Choose other edges or "
                "operations (model.edges, model.space.operations)."
            )
        if self.blocks > 1 and not names & set(FAMILIES["depthwise"]):
            raise ValueError(
                f"edges.blocks {self.blocks} of MergedConvolutions stands for the two blocks of separable "
                f"convolutions, which the space '{space.name}' does not have: set edges.blocks to 1."
            )

    def make(self, plan: EdgePlan) -> Edge:
        """See `EdgeKind`."""
        return MergedEdge(plan.names, plan.channels, plan.stride, plan.style, self)
