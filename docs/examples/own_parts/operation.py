"""An operation: a 3x3 convolution whose channels are weighed by squeeze and excitation."""

from torch import Tensor, nn

from lit_nas.operations import BatchNorm, OperationStyle, register_operation


class SqueezeConv(nn.Module):
    """ReLU, 3x3 convolution, BatchNorm, and a factor for each channel."""

    def __init__(self, before: int, after: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm = BatchNorm(after, affine)
        self.squeeze = nn.Sequential(
            nn.Linear(after, max(1, after // 4)), nn.ReLU(), nn.Linear(max(1, after // 4), after)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        x = self.norm(self.conv(x.relu()))
        return x * self.squeeze(x.mean((2, 3))).sigmoid()[..., None, None]


def squeeze_conv(before: int, after: int, stride: int, style: OperationStyle) -> nn.Module:
    """Makes the module."""
    return SqueezeConv(before, after, stride, style.affine)


register_operation("squeeze_conv_3x3", squeeze_conv)
