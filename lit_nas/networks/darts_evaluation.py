"""The network that a genotype stands for: fixed cells, an auxiliary head, and the stems of CIFAR and ImageNet.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, appendix A.2 and A.3.
Differs from the authors' code (quark0/darts): the auxiliary head takes maps of any size from 2x2 on.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.networks.cell_inputs import CellInputs, check_image_size
from lit_nas.networks.fixed_reduction import FixedReduction
from lit_nas.networks.read_out import check_auxiliary, read_out
from lit_nas.operations import EVALUATION, BatchNorm, ConvBN, ReLUConvBN, build_operation, drop_path
from lit_nas.spaces import GDASSpace, reduction_places
from lit_nas.specs import ImageSpec

__all__ = ("AuxiliaryHead", "CIFARStem", "EvaluationNetwork", "FixedCell", "ImageNetStem")


class CIFARStem(nn.Module):
    """One convolution to 3C channels, for small images.

    Args:
        in_channels: Colour channels of the images.
        channels: C of the first cell.
    """

    reductions = 0
    """How many times it halves H and W."""
    reduced = False
    """Whether its first output is twice as large as its second one."""
    auxiliary_norm = True
    """Whether BatchNorm follows the last convolution of the auxiliary head."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels = 3 * channels
        self.conv = ConvBN(in_channels, self.out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> the two inputs of the first cell, both [B, 3C, H, W]."""
        x = self.conv(images)
        return x, x


class ImageNetStem(nn.Module):
    """Three convolutions with stride 2 to C channels, for large images.

    Args:
        in_channels: Colour channels of the images.
        channels: C of the first cell, even.
    """

    reductions = 3
    reduced = True
    auxiliary_norm = False  # the weights of the paper were trained without it

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.before = nn.Sequential(
            ConvBN(in_channels, channels // 2, 2), nn.ReLU(), ConvBN(channels // 2, channels, 2)
        )
        self.last = ReLUConvBN(channels, channels, 3, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] -> the two inputs of the first cell, [B, C, H / 4, W / 4] and [B, C, H / 8, W / 8]."""
        before = self.before(images)
        return before, self.last(before)


_STEMS: dict[str, type[CIFARStem] | type[ImageNetStem]] = {"cifar": CIFARStem, "imagenet": ImageNetStem}


class FixedCell(nn.Module):
    """A cell of a genotype.

    Args:
        genotype: Its edges.
        channels_before: C of the output of the cell before the last one.
        channels_last: C of the output of the last cell.
        channels: C of its nodes.
        reduced: Whether the last cell was a reduction cell.
        reduction: Whether this one is: edges that leave its inputs have stride 2.
        pool_norm: Whether BatchNorm follows each pooling.
    """

    def __init__(
        self,
        genotype: CellGenotype,
        channels_before: int,
        channels_last: int,
        channels: int,
        reduced: bool,
        reduction: bool,
        pool_norm: bool = False,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.inputs = CellInputs(channels_before, channels_last, channels, reduced, EVALUATION.affine)
        style = replace(EVALUATION, pool_norm=pool_norm)
        strides = (2 if reduction and edge.source < genotype.inputs else 1 for edge in genotype.edges)
        self.operations = nn.ModuleList(
            build_operation(edge.operation, channels, stride, style)
            for edge, stride in zip(genotype.edges, strides, strict=True)
        )

    def forward(self, before: Tensor, last: Tensor, drop_probability: float = 0.0) -> Tensor:
        """Outputs of cells k - 2 and k - 1 -> [B, N * C, H', W'], the nodes of `concat`.

        Every path but the stride-1 identity is dropped with `drop_probability`, in training mode only.
        """
        states = dict(enumerate(self.inputs(before, last)))
        for edge, operation in zip(self.genotype.edges, self.operations, strict=True):
            path = operation(states[edge.source])
            if self.training and drop_probability > 0 and not isinstance(operation, nn.Identity):
                path = drop_path(path, drop_probability)
            states[edge.target] = states[edge.target] + path if edge.target in states else path
        return torch.cat([states[state] for state in self.genotype.concat], 1)


class AuxiliaryHead(nn.Module):
    """A second classifier in the middle of the network, for training only.

    Maps are pooled to 2x2. A side of 7 or 8 is pooled as in the paper, by windows of 5 (with stride 3 on the 8x8 maps
    of CIFAR, 2 on the 7x7 maps of ImageNet); any other side as adaptive pooling does, by two windows of half a side.

    Args:
        channels: C of the map.
        size: (H, W) of the map.
        spec: Images and labels.
        norm: Whether BatchNorm follows the last convolution.

    Raises:
        ValueError: if the map is smaller than 2x2.
    """

    def __init__(self, channels: int, size: tuple[int, int], spec: ImageSpec, norm: bool = True) -> None:
        super().__init__()
        if min(size) < 2:
            raise ValueError(
                f"The auxiliary head needs a map of at least 2x2 pixels, but gets {size[0]}x{size[1]}. Use larger "
                "images, or no auxiliary head (auxiliary=False; model.optim.auxiliary_weight: 0)."
            )
        # as a window and a stride, because the gradient of adaptive pooling is not deterministic on a GPU
        self.window = tuple(5 if side in (7, 8) else (side + 1) // 2 for side in size)
        self.stride = tuple(side - 5 if side in (7, 8) else side // 2 for side in size)
        self.conv1 = nn.Conv2d(channels, 128, 1, bias=False)
        self.norm1 = BatchNorm(128)
        self.conv2 = nn.Conv2d(128, 768, 2, bias=False)
        self.norm2 = BatchNorm(768) if norm else nn.Identity()
        self.classifier = spec.task.head(768, spec)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> outputs, logits [B, K] in classification."""
        x = F.avg_pool2d(F.relu(x), self.window, self.stride)  # [B, C, 2, 2]
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))  # [B, 768, 1, 1]
        return self.classifier(x.flatten(1))


class EvaluationNetwork(nn.Module):
    """Stem, cells of a genotype, global average pooling, the head of the task.

    Channels double at the reduction cells, at one and two thirds of the depth; after the second one an auxiliary head
    sits. For ImageNet the paper has 48 channels, 14 cells and images of 224x224.

    Args:
        genotype: With the cells `normal` and `reduce`; in the space of GDAS a fixed cell may stand for the latter.
        spec: Images and labels.
        init_channels: C of the first cell, even.
        num_cells: Depth.
        auxiliary: Whether there is an auxiliary head.
        stem: `cifar` for small images, `imagenet` for large ones.
        pool_norm: Whether an affine BatchNorm follows each pooling.

    Raises:
        ValueError: if the genotype or the images do not fit.
    """

    def __init__(
        self,
        genotype: Genotype,
        spec: ImageSpec = ImageSpec(),
        init_channels: int = 36,
        num_cells: int = 20,
        auxiliary: bool = True,
        stem: Literal["cifar", "imagenet"] = "cifar",
        pool_norm: bool = False,
    ) -> None:
        super().__init__()
        _check(genotype, init_channels, num_cells, stem)
        if auxiliary:
            check_auxiliary(spec)
        self.stem = _STEMS[stem](spec.channels, init_channels)
        places, halvings = reduction_places(num_cells), self.stem.reductions
        check_image_size(spec, halvings + len(places))
        self.auxiliary: AuxiliaryHead | None = None
        self.auxiliary_place = 2 * num_cells // 3
        self.types = tuple("reduce" if index in places else "normal" for index in range(num_cells))
        self.cells = nn.ModuleList()
        channels, reduced = init_channels, self.stem.reduced
        before = last = self.stem.out_channels
        for index, kind in enumerate(self.types):
            reduction = kind == "reduce"
            channels, halvings = channels * (1 + reduction), halvings + reduction
            if kind in genotype.cells:
                cell = genotype.cells[kind]
                self.cells.append(FixedCell(cell, before, last, channels, reduced, reduction, pool_norm))
                before, last, reduced = last, len(cell.concat) * channels, reduction
            else:  # see `_check`
                inputs = CellInputs(before, last, channels, reduced, EVALUATION.affine)
                self.cells.append(FixedReduction(inputs, channels, EVALUATION.affine, EVALUATION.conv_bias))
                before, last, reduced = last, FixedReduction.times * channels, reduction
            if auxiliary and index == self.auxiliary_place:
                size = (spec.height >> halvings, spec.width >> halvings)
                self.auxiliary = AuxiliaryHead(last, size, spec, self.stem.auxiliary_norm)
        self.dense, self.classifier = spec.task.dense, spec.task.head(last, spec)

    def forward(self, images: Tensor, drop_probability: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """Classifies images.

        Args:
            images: [B, C, H, W].
            drop_probability: Chance that a path is dropped for a sample, in training mode only.

        Returns:
            Outputs, logits [B, K] in classification, and those of the auxiliary head in training mode if there is one.
        """
        before, last = self.stem(images)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last, drop_probability)
            if self.training and self.auxiliary is not None and index == self.auxiliary_place:
                auxiliary = self.auxiliary(last)
        return self.classifier(read_out(last, self.dense)), auxiliary


def _check(genotype: Genotype, init_channels: int, num_cells: int, stem: str) -> None:
    if stem not in _STEMS:
        raise ValueError(f"There is no network '{stem}'. Known are: {', '.join(_STEMS)}.")
    if init_channels < 2 or init_channels % 2:
        raise ValueError(f"init_channels must be even (factorised reduction) and positive, not {init_channels}.")
    if num_cells < 1:
        raise ValueError(f"num_cells must be at least 1, not {num_cells}.")
    fixed = genotype.space == GDASSpace.name and "reduce" not in genotype.cells
    if fixed and init_channels % 4:
        raise ValueError(
            f"init_channels must be a multiple of 4 (the fixed reduction cell has eight groups), not {init_channels}."
        )
    needed = ("normal",) if fixed else ("normal", "reduce")
    if missing := [name for name in needed if name not in genotype.cells]:
        raise ValueError(
            f"A network of cells needs the cells 'normal' and 'reduce', but genotype '{genotype.name}' of the space "
            f"'{genotype.space}' lacks {missing}: it has {list(genotype.cells)}."
        )
    for name in needed:
        if genotype.cells[name].inputs != 2:
            raise ValueError(
                f"Cells of this network have 2 inputs, but cells.{name}.inputs of genotype '{genotype.name}' is "
                f"{genotype.cells[name].inputs}."
            )
