"""One convolution in the place of several: candidates are windows of one kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.edges.lean import conv_of_relu, recomputed
from lit_nas.operations import BatchNorm, OperationStyle, pointwise

__all__ = ("MergedConv", "Window")


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


class MergedConv(nn.Module):
    """ReLU, one convolution whose kernel is the weighted sum of those of all candidates, BatchNorm.

    Every candidate has its window of one kernel. A convolution is linear in its kernel, so this equals the weighted sum
    of the convolutions of all windows, exactly (propositions 1 and 2 of the paper). So are means over a window of each
    channel, with a window of one pixel the identity, whose kernels are fixed (proposition 3): those that are `folded`
    read the state after the ReLU, too, and the padding counts in their mean. Beside a depthwise kernel they are added
    before BatchNorm; a kernel from all to all channels that holds everything has the same value and costs more.

    BatchNorm takes out the sum of the weights; `rescale` multiplies it in again after it, so that what is merged
    competes as a whole with other candidates. The paper does not say so. There is no bias, which BatchNorm would take
    out as well.

    For the backward pass one map is kept, that before the pointwise kernel, or before BatchNorm where there is none;
    all else is cheap to compute again.

    Where a step draws candidates, pixels of the kernel outside the drawn windows have a gradient of zero, not none:
    they are parts of one tensor, so momentum and weight decay update them. So do those that no window has.

    Args:
        windows: Candidate -> the pixels that it reads.
        depthwise: Whether the kernel is depthwise, with a pointwise one behind it.
        channels: C of input and output.
        stride: Step of the kernel.
        style: How it is normalised.
        folded: Candidate -> odd side of the window over which it takes the mean.
        rescale: Whether the sum of the weights is multiplied in again.
        recompute: Whether no map is kept, so that the convolution is computed again for the backward pass.
    """

    masks: Tensor
    pointwise: nn.Parameter | None

    def __init__(
        self,
        windows: Mapping[str, Window],
        depthwise: bool,
        channels: int,
        stride: int,
        style: OperationStyle,
        folded: Mapping[str, int] | None = None,
        rescale: bool = True,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.windows, self.depthwise, self.channels, self.stride = dict(windows), depthwise, channels, stride
        self.folded, self.rescale, self.recompute = dict(folded or {}), rescale, recompute
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
        shares, total = self._shares(weights)
        kernel, dilation = self._kernel(shares)
        means = {name: shares[name] for name in self.folded if name in shares and self.depthwise}
        rest = (None if kernel is None else self.pointwise, self.norm.weight, self.norm.bias, total, *means.values())
        compute = _Compute(self.norm, self.stride, dilation, tuple(self.folded[name] for name in means))
        if self.recompute and compute.by_batch:
            return recomputed(compute, compute.again, None, x, kernel, *rest)
        y = None if kernel is None else compute.convolve(x, kernel)
        inputs = (y, x if means else None, None, *rest)
        return recomputed(compute, compute.again, *inputs) if compute.by_batch else compute(*inputs)

    def _shares(self, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
        """What each active candidate is multiplied by in the kernel, and the factor of the whole, if there is one."""
        names = [name for name in (*self.windows, *self.folded) if name in weights]
        factors = torch.stack([weights[name] for name in names])
        total = factors.sum() if self.rescale else None
        if total is not None:
            factors = factors / total.clamp_min(torch.finfo(total.dtype).eps)
        return dict(zip(names, factors.to(self.kernel.dtype).unbind(), strict=True)), total

    def _kernel(self, shares: Mapping[str, Tensor]) -> tuple[Tensor | None, int]:
        """The kernel of all, cut to the pixels that they read, and its dilation; None if there is nothing for it."""
        names = [name for name in self.windows if name in shares]
        folded = {} if self.depthwise else {name: size for name, size in self.folded.items() if name in shares}
        if not names and not folded:
            return None, 1
        # a sampled step pays for what it drew: no more pixels than the active windows reach
        reach = max([*(self.windows[name].reach for name in names), *(size // 2 for size in folded.values())])
        dilation = 2 if not folded and all(self.windows[name].dilation == 2 for name in names) else 1
        kernel = self.kernel.new_zeros(())
        if names:
            kernel = self._cut(self.kernel, reach, dilation) * self._mask(names, shares, reach, dilation)
        for name, size in folded.items():
            mean = torch.full((size, size), 1.0 / size**2, dtype=kernel.dtype, device=kernel.device)
            kernel = kernel + _on_diagonal(self.channels, shares[name] * F.pad(mean, [reach - size // 2] * 4))
        return kernel, dilation

    def _mask(self, names: list[str], shares: Mapping[str, Tensor], reach: int, dilation: int) -> Tensor:
        """The weighted sum of the windows, [K, K]."""
        rows = self._cut(self.masks, reach, dilation)
        if len(names) < len(rows):  # one by one: a list of indices would be copied to the device in each step
            rows = torch.stack([row for name, row in zip(self.windows, rows, strict=True) if name in names])
        return torch.einsum("p,phw->hw", torch.stack([shares[name] for name in names]), rows)

    def _cut(self, kernel: Tensor, reach: int, dilation: int) -> Tensor:
        """The pixels up to a distance from the centre, or each second one; zeros where the kernel is smaller."""
        centre = kernel.shape[-1] // 2
        if reach > centre:
            return F.pad(kernel, [reach - centre] * 4)
        pixels = slice(centre - reach, centre + reach + 1, dilation)
        return kernel[..., pixels, pixels]


@dataclass(frozen=True, eq=False)
class _Compute:
    """What a merged convolution does with its tensors."""

    norm: BatchNorm
    stride: int
    dilation: int
    sizes: tuple[int, ...]
    """Sides of the windows of which means are added."""

    @property
    def by_batch(self) -> bool:
        """Whether BatchNorm takes the moments of the batch of this process, so that it can do so a second time."""
        return type(self.norm) is BatchNorm and (self.norm.training or self.norm.running_mean is None)

    def convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        """ReLU and convolution."""
        return conv_of_relu(x, kernel, self.stride, self.dilation * (kernel.shape[-1] // 2), self.dilation)

    def __call__(self, *inputs: Any) -> Tensor:
        """The value, see `_value`."""
        return self._value(lambda z, scale, shift: self.norm(z), *inputs)

    def again(self, *inputs: Any) -> Tensor:
        """The value once more, without a trace in running statistics."""
        eps = self.norm.eps
        return self._value(lambda z, scale, shift: F.batch_norm(z, None, None, scale, shift, True, 0.0, eps), *inputs)

    def _value(
        self,
        norm: Callable[[Tensor, Tensor | None, Tensor | None], Tensor],
        y: Tensor | None,
        x: Tensor | None,
        kernel: Tensor | None,
        weight: Tensor | None,
        scale: Tensor | None,
        shift: Tensor | None,
        total: Tensor | None,
        *shares: Tensor,
    ) -> Tensor:
        """The convolution, if it is not known, and what follows it.

        Args:
            norm: Normalises a map by a scale and a shift.
            y: The value of the convolution; None lets it be computed of x and the kernel.
            x: The state; None where nothing else needs it.
            kernel: Of the convolution.
            weight: The pointwise kernel.
            scale: Of BatchNorm.
            shift: Of BatchNorm.
            total: What the whole is multiplied by.
            shares: What the means over windows of the state are multiplied by.
        """
        if x is not None and kernel is not None:
            y = self.convolve(x, kernel)
        z = y if y is None or weight is None else pointwise(y, weight)
        for size, share in zip(self.sizes, shares, strict=True):
            assert x is not None  # it is there if there is a mean of it
            read = F.relu(x)
            term = share * (read if size == 1 else F.avg_pool2d(read, size, self.stride, size // 2))
            z = term if z is None else z + term
        assert z is not None  # at least one candidate is active
        z = norm(z, scale, shift)
        return z if total is None else total * z


def _on_diagonal(channels: int, kernel: Tensor) -> Tensor:
    """[K, K] -> [C, C, K, K]: each channel by itself."""
    return kernel.unsqueeze(-1).expand(-1, -1, channels).diag_embed().permute(2, 3, 0, 1)


def _kernel(outputs: int, inputs: int, size: int) -> nn.Parameter:
    kernel = nn.Parameter(torch.empty(outputs, inputs, size, size))
    nn.init.kaiming_normal_(kernel)
    return kernel
