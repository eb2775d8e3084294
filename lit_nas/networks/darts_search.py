"""The search network: all candidates of all edges, mixed by an architecture that is handed in."""

import torch
from torch import Tensor, nn

from lit_nas.architecture import CellMixture, Mixture
from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine, Fused
from lit_nas.networks.cell_inputs import CellInputs, check_image_size
from lit_nas.networks.darts_evaluation import ImageNetStem
from lit_nas.networks.read_out import read_out
from lit_nas.operations import ConvBN, OperationStyle
from lit_nas.spaces import CellSpace, DartsSpace
from lit_nas.specs import ImageSpec

__all__ = ("SearchCell", "SearchNetwork")


class SearchCell(nn.Module):
    """A cell of a search network.

    Args:
        space: Its DAG and candidates.
        channels_before: C of the output of the cell before the last one.
        channels_last: C of the output of the last cell.
        channels: C of its nodes.
        reduced: Whether the last cell was a reduction cell.
        style: How the candidates are normalised.
        engine: What computes the nodes.
        edges: What an edge makes of its candidates.
    """

    def __init__(
        self,
        space: CellSpace,
        channels_before: int,
        channels_last: int,
        channels: int,
        reduced: bool,
        style: OperationStyle,
        engine: Engine,
        edges: EdgeKind = PlainEdges(),
    ) -> None:
        super().__init__()
        self.space, self.engine = space, engine
        self.inputs = CellInputs(channels_before, channels_last, channels, reduced, style.affine, style.conv_bias)
        self.edges = nn.ModuleList(
            edges.build(space.names(edge), channels, space.stride(edge), style) for edge in range(len(space.edges))
        )

    def forward(self, before: Tensor, last: Tensor, mixture: CellMixture) -> Tensor:
        """Outputs of cells k - 2 and k - 1 -> [B, N * C, H', W'], all nodes concatenated."""
        return torch.cat(self.engine(self, self.inputs(before, last), mixture), 1)


class SearchNetwork(nn.Module):
    """Search network of the DARTS space: stem, cells, global average pooling, the head of the task.

    It holds network weights only; the architecture is an argument of the forward pass.

    Args:
        space: What is searched.
        spec: Images and labels.
        engine: What computes the nodes of the cells.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the images are too small for the reductions, or the kind of edge does not fit the channels.
    """

    def __init__(
        self, space: DartsSpace, spec: ImageSpec, engine: Engine | None = None, edges: EdgeKind = PlainEdges()
    ) -> None:
        super().__init__()
        layout, cells = space.layout, space.cells
        large = space.stem == "imagenet"
        halvings = ImageNetStem.reductions if large else 0
        check_image_size(spec, halvings + sum(cells[position.cell].reduction for position in layout))
        channels = space.stem_multiplier * space.init_channels
        self.stem = (ImageNetStem if large else ConvBN)(spec.channels, channels)
        self.types = tuple(position.cell for position in layout)
        self.cells = nn.ModuleList()
        before = last = channels
        reduced = large  # the first output of that stem is twice as large as the second one
        for position in layout:
            cell = cells[position.cell]
            self.cells.append(
                SearchCell(cell, before, last, position.channels, reduced, space.style, engine or Fused(), edges)
            )
            before, last, reduced = last, len(cell.targets) * position.channels, cell.reduction
        self.dense, self.classifier = spec.task.dense, spec.task.head(last, spec)

    def forward(self, images: Tensor, mixture: Mixture) -> Tensor:
        """[B, 3, H, W] and a mixture -> outputs, logits [B, K] in classification."""
        before, last = self.stem(images) if isinstance(self.stem, ImageNetStem) else (self.stem(images),) * 2
        for cell, mixed in zip(self.cells, mixture, strict=True):
            before, last = last, cell(before, last, mixed)
        return self.classifier(read_out(last, self.dense))
