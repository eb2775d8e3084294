"""The search network of GDAS, and the reduction cell that is not searched.

Code: D-X-Y/AutoDL-Projects, `search_model_gdas_nasnet.py`, `search_model_gdas_frc_nasnet.py` and, for the fixed cell,
`cell_operations.py`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.architecture import Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks.cell_inputs import CellInputs, check_image_size
from lit_nas.networks.darts_search import SearchCell
from lit_nas.networks.fixed_reduction import FixedReduction
from lit_nas.networks.read_out import read_out
from lit_nas.operations import BatchNorm, ConvBN
from lit_nas.spaces import GDASSpace, Position
from lit_nas.specs import ImageSpec

__all__ = ("GDASSearchNetwork",)

STEM = 3
"""The stem makes three times as many channels as the first cell."""


class GDASSearchNetwork(nn.Module):
    """Stem, cells, BatchNorm and ReLU, global average pooling, the head of the task.

    It holds network weights only; the architecture is an argument of the forward pass.

    Args:
        space: What is searched.
        spec: Images and labels.
        engine: What computes the nodes of the searched cells.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the images are too small for the reductions, or the kind of edge does not fit the channels.
    """

    def __init__(
        self, space: GDASSpace, spec: ImageSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
    ) -> None:
        super().__init__()
        check_image_size(spec, 2)
        style, cells, positions = space.style, space.cells, _with_reductions(space)
        self.stem = ConvBN(spec.channels, STEM * space.init_channels)
        self.types = tuple(position.cell for position in positions)
        self.cells = nn.ModuleList()
        before = last = STEM * space.init_channels
        reduced = False
        for kind, channels, *_ in positions:
            reduction = kind == "reduce"
            if kind in cells:
                self.cells.append(
                    SearchCell(cells[kind], before, last, channels, reduced, style, engine or Fused(), edges)
                )
                before, last = last, space.nodes * channels
            else:
                inputs = CellInputs(before, last, channels, reduced, style.affine, style.conv_bias)
                self.cells.append(FixedReduction(inputs, channels, style.affine, style.conv_bias))
                before, last = last, FixedReduction.times * channels
            reduced = reduction
        self.norm = BatchNorm(last)
        self.dense, self.classifier = spec.task.dense, spec.task.head(last, spec)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, 3, H, W] and a mixture of the searched cells -> logits [B, K]."""
        before = last = self.stem(images)
        searched = iter(mixture)
        for cell in self.cells:
            out = cell(before, last, next(searched)) if isinstance(cell, SearchCell) else cell(before, last)
            before, last = last, out
        return self.classifier(read_out(F.relu(self.norm(last)), self.dense))


def _with_reductions(space: GDASSpace) -> list[Position]:
    """The layout with a reduction cell wherever channels double, which it has itself where the cell is searched."""
    positions: list[Position] = []
    for position in space.layout:
        if positions and space.fixed_reduction and position.channels != positions[-1].channels:
            positions.append(Position("reduce", position.channels))
        positions.append(position)
    return positions
