"""What search and evaluation networks share: the inputs of a cell, and which image sizes fit."""

from torch import Tensor, nn

from lit_nas.operations import FactorizedReduce, ReLUConvBN
from lit_nas.specs import ImageSpec

__all__ = ("CellInputs", "check_image_size")


class CellInputs(nn.Module):
    """Brings the outputs of the two preceding cells to the channels and the size of a cell.

    Args:
        channels_before: C of the output of the cell before the last one.
        channels_last: C of the output of the last cell.
        channels: C of this cell.
        reduced: Whether the last cell halved H and W, so that the one before it is twice as large.
        affine: Whether BatchNorm is affine.
        bias: Whether convolutions have biases.
    """

    def __init__(
        self,
        channels_before: int,
        channels_last: int,
        channels: int,
        reduced: bool,
        affine: bool,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.before = (
            FactorizedReduce(channels_before, channels, affine, bias)
            if reduced
            else ReLUConvBN(channels_before, channels, affine=affine, bias=bias)
        )
        self.last = ReLUConvBN(channels_last, channels, affine=affine, bias=bias)

    def forward(self, before: Tensor, last: Tensor) -> list[Tensor]:
        """Outputs of cells k - 2 and k - 1 -> states 0 and 1, each [B, C, H, W]."""
        return [self.before(before), self.last(last)]


def check_image_size(spec: ImageSpec, reductions: int) -> None:
    """Refuses images that cannot be halved that often.

    Args:
        spec: What the data set hands over.
        reductions: How many times the network halves H and W.

    Raises:
        ValueError: if H or W is not a multiple of 2 ** reductions.
    """
    factor = 2**reductions
    if spec.height % factor or spec.width % factor:
        up = (-(-spec.height // factor) * factor, -(-spec.width // factor) * factor)
        raise ValueError(
            f"Images of {spec.height}x{spec.width} pixels do not fit a network with {reductions} reductions: "
            f"height and width must be multiples of {factor}. Resize or pad the images, to {up[0]}x{up[1]} for "
            "example (data.size of ImageFolderDataModule), or choose a network with fewer reductions (fewer cells)."
        )
