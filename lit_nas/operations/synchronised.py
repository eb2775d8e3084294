"""BatchNorm over the batches of all processes.

Differs from `torch.nn.SyncBatchNorm`: it runs on a CPU, it can be differentiated twice (which the exact second order
does), and no layer waits for its device.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from lit_nas.operations.convolution import BatchNorm
from lit_nas.precision import widest_float

__all__ = ("SynchronisedBatchNorm", "part_norms", "synchronise_norms")


class SynchronisedBatchNorm(BatchNorm):
    """`BatchNorm` that normalises, in training, by the mean and variance of the batches of all processes.

    In evaluation each process is on its own, because they may have different numbers of batches.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(x)
        if x.numel() == x.shape[1] and torch.distributed.get_world_size() == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}.")
        mean, variance, count = _statistics(x if x.dtype == torch.float64 else x.float())
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            momentum = self.momentum or 0.0  # which is never None here, see `BatchNorm`
            with torch.no_grad():
                unbiased = variance * (count / (count - 1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        out = torch.addcmul(shift.view(1, -1, 1, 1), x, scale.view(1, -1, 1, 1))
        return out.to(x.dtype)


def synchronise_norms(module: nn.Module) -> None:
    """Turns each BatchNorm of a module into one that is synchronised.

    The modules stay the same objects, so that lists of them, hooks and optimisers remain valid.

    Raises:
        ValueError: if one is of a class that only knows its own batch.
    """
    for name, norm in module.named_modules():
        if type(norm) is BatchNorm:
            norm.__class__ = SynchronisedBatchNorm
        elif isinstance(norm, _BatchNorm) and not isinstance(norm, SynchronisedBatchNorm):
            raise ValueError(
                f"trainer.sync_batchnorm synchronises lit_nas.operations.BatchNorm, but {name} is a "
                f"{type(norm).__name__}. Build it as lit_nas.operations.BatchNorm, or set trainer.sync_batchnorm to "
                "false."
            )


def part_norms(module: nn.Module) -> None:
    """Undoes `synchronise_norms`."""
    for norm in module.modules():
        if type(norm) is SynchronisedBatchNorm:
            norm.__class__ = BatchNorm  # type: ignore[assignment]  # a class that adds no attribute


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C], biased variance [C] and number of values per channel, 0-dim, over all processes."""
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    # summed in float64 where there is: there the difference of two large sums is exact enough
    kind = widest_float(x.device)
    wide, count = mean.to(kind), mean.new_full((1,), x.numel() // x.shape[1], dtype=kind)
    sums = _SumOverRanks.apply(torch.cat([count * wide, count * (variance.to(kind) + wide.square()), count]))
    first, second, total = sums.split([len(mean), len(mean), 1])
    wide = first / total
    variance = (second / total - wide.square()).clamp(min=0)
    return wide.to(x.dtype), variance.to(x.dtype), total.detach().squeeze()


class _SumOverRanks(Function):
    """A sum over processes. The sum of their losses is what its gradient belongs to, and that again is such a sum."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradient)
