"""Candidates merged into one kernel: an edge costs one convolution, however many of its candidates are convolutions.

Paper: Wang et al., "MergeNAS: merge operations into one for differentiable architecture search", IJCAI 2020,
https://doi.org/10.24963/ijcai.2020/424. There is no official code; what the paper leaves open is decided as in later
code of its first author (vicFigure/EAutoDet): one block instead of the two of a separable convolution, one depthwise
and one pointwise kernel for all candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.edges.edge import Edge, EdgeKind
from lit_nas.operations import BatchNorm, OperationStyle, build_operation, pointwise

__all__ = ("MergedConv", "MergedConvolutions", "MergedEdge", "Window")


class Window(NamedTuple):
    """The pixels that a kernel reads."""

    size: int
    """Odd side of the kernel."""
    dilation: int = 1
    """Distance of neighbouring pixels."""

    @property
    def reach(self) -> int:
        """Pixels from the centre to the border."""
        return self.dilation * (self.size // 2)


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


class MergedConv(nn.Module):
    """ReLU, one convolution whose kernel is the weighted sum of those of all candidates, BatchNorm.

    Every candidate has its window of one kernel. A convolution is linear in its kernel, so this equals the weighted sum
    of the convolutions of all windows, exactly (propositions 1 and 2 of the paper). BatchNorm takes out the sum of the
    weights; it is multiplied in again after it, so that convolutions as a whole compete with other candidates. The
    paper does not say so. There is no bias, which BatchNorm would take out as well.

    Where a step draws candidates, pixels of the kernel outside the drawn windows have a gradient of zero, not none:
    they are parts of one tensor, so momentum and weight decay move them.

    Args:
        windows: Candidate -> the pixels that it reads.
        depthwise: Whether the kernel is depthwise, with a pointwise one behind it.
        channels: C of input and output.
        stride: Step of the kernel.
        style: How it is normalised.
    """

    masks: Tensor
    pointwise: nn.Parameter | None

    def __init__(
        self, windows: Mapping[str, Window], depthwise: bool, channels: int, stride: int, style: OperationStyle
    ) -> None:
        super().__init__()
        self.windows, self.depthwise, self.channels, self.stride = dict(windows), depthwise, channels, stride
        reach = max(window.reach for window in windows.values())
        masks = torch.zeros(len(windows), 2 * reach + 1, 2 * reach + 1)
        for mask, window in zip(masks, windows.values(), strict=True):
            pixels = slice(reach - window.reach, reach + window.reach + 1, window.dilation)
            mask[pixels, pixels] = 1.0
        self.register_buffer("masks", masks, persistent=False)
        self.kernel = _kernel(channels, 1 if depthwise else channels, 2 * reach + 1)
        self.register_parameter("pointwise", _kernel(channels, channels, 1) if depthwise else None)
        self.norm = BatchNorm(channels, style.affine)
        if not style.track_running_stats:
            self.norm.untrack()

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """[B, C, H, W] and the weight of each active candidate -> their sum, [B, C, H / stride, W / stride]."""
        names = [name for name in self.windows if name in weights]
        factors = torch.stack([weights[name] for name in names])
        total = factors.sum()
        shares = factors / total.clamp_min(torch.finfo(total.dtype).eps)
        # a sampled step pays for what it drew: no more pixels than the active windows reach
        reach = max(self.windows[name].reach for name in names)
        dilation = 2 if all(self.windows[name].dilation == 2 for name in names) else 1
        centre = self.kernel.shape[-1] // 2
        pixels = slice(centre - reach, centre + reach + 1, dilation)
        rows = self.masks[:, pixels, pixels]
        if len(names) < len(rows):  # one by one: a list of indices would be copied to the device in each step
            rows = torch.stack([row for name, row in zip(self.windows, rows, strict=True) if name in weights])
        kernel = self.kernel[:, :, pixels, pixels] * torch.einsum("p,phw->hw", shares.to(rows.dtype), rows)
        groups = self.channels if self.depthwise else 1
        x = F.conv2d(F.relu(x), kernel, None, self.stride, reach, dilation, groups)
        if self.pointwise is not None:
            x = pointwise(x, self.pointwise)
        return total * self.norm(x)


class _Chain(nn.ModuleList):
    """Merged blocks, one after the other."""

    def forward(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """As one block."""
        for block in self:
            x = block(x, weights)
        return x


class MergedEdge(Edge):
    """One kernel for each family of convolutions; pools, skip connections and all others run beside it.

    Args:
        names: The candidates.
        channels: C.
        stride: 1 or 2.
        style: How they are normalised.
        blocks: How many merged blocks stand for depthwise candidates.
    """

    def __init__(
        self, names: tuple[str, ...], channels: int, stride: int, style: OperationStyle, blocks: int = 1
    ) -> None:
        super().__init__()
        self.stride = stride
        self.merged = nn.ModuleDict()
        for family, known in FAMILIES.items():
            depthwise, windows = family == "depthwise", {name: known[name] for name in names if name in known}
            strides = [stride, *[1] * (blocks - 1)] if depthwise else [stride]
            if windows:
                self.merged[family] = _Chain(MergedConv(windows, depthwise, channels, step, style) for step in strides)
        others = [name for name in names if not any(name in known for known in FAMILIES.values())]
        self.operations = nn.ModuleDict({name: build_operation(name, channels, stride, style) for name in others})

    def terms(self, x: Tensor, weights: Mapping[str, Tensor], beside: Tensor | None = None) -> Iterator[Tensor]:
        """See `Edge`."""
        for family, blocks in self.merged.items():
            known = FAMILIES[family]
            if active := {name: weight for name, weight in weights.items() if name in known}:
                yield blocks(x, active)
        yield from (weight * self.operations[name](x) for name, weight in weights.items() if name in self.operations)


def _kernel(outputs: int, inputs: int, size: int) -> nn.Parameter:
    kernel = nn.Parameter(torch.empty(outputs, inputs, size, size))
    nn.init.kaiming_normal_(kernel)
    return kernel


@dataclass(frozen=True)
class MergedConvolutions(EdgeKind):
    """The convolutions of an edge share one kernel; pools and skip connections run beside it.

    Separable and dilated convolutions are one family with one kernel, `nor_conv_*` are another.

    Raises:
        ValueError: if `blocks` is neither 1 nor 2.
    """

    blocks: int = 1
    """How many blocks of ReLU, convolution and BatchNorm stand for separable and dilated convolutions: with 1 the edge
    is exactly the sum of its candidates before BatchNorm, 2 is the depth of a separable convolution."""

    def __post_init__(self) -> None:
        if self.blocks not in (1, 2):
            raise ValueError(f"edges.blocks of MergedConvolutions must be 1 or 2, not {self.blocks}.")

    def build(
        self,
        names: tuple[str, ...],
        channels: int,
        stride: int,
        style: OperationStyle,
        channels_out: int | None = None,
    ) -> Edge:
        """See `EdgeKind`."""
        self._keep_channels(channels, channels_out)
        return MergedEdge(names, channels, stride, style, self.blocks)
