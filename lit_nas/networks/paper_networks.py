"""The retraining networks of the papers, with their numbers."""

from dataclasses import dataclass

from torch import nn

from lit_nas.genotype import Genotype
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.networks.nas_bench_201 import NasBench201Network
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.spaces import MOST_CELLS
from lit_nas.specs import ImageSpec

__all__ = ("CIFARNetwork", "ImageNetNetwork", "NasBench201CIFARNetwork")


def _check_depth(num_cells: int) -> None:
    if num_cells > MOST_CELLS:
        raise ValueError(f"num_cells must be at most {MOST_CELLS}, not {num_cells}.")


@dataclass(frozen=True)
class CIFARNetwork(RetrainNetwork):
    """Cells of DARTS for small images, `cifar`."""

    paper_batch_size = 96
    has_auxiliary = True

    init_channels: int = 36
    """C of the first cell."""
    num_cells: int = 20
    """Depth in cells."""
    pool_norm: bool = False
    """Whether an affine BatchNorm follows each pooling, as in DropNAS and StacNAS."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        _check_depth(self.num_cells)
        return EvaluationNetwork(genotype, spec, self.init_channels, self.num_cells, auxiliary, "cifar", self.pool_norm)


@dataclass(frozen=True)
class ImageNetNetwork(RetrainNetwork):
    """Cells of DARTS for large images, `imagenet`."""

    paper_spec = ImageSpec(3, 224, 224, 1000)
    paper_batch_size = 128
    has_auxiliary = True

    init_channels: int = 48
    """C of the first cell."""
    num_cells: int = 14
    """Depth in cells."""
    pool_norm: bool = False
    """Whether an affine BatchNorm follows each pooling, as in StacNAS."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        _check_depth(self.num_cells)
        return EvaluationNetwork(
            genotype, spec, self.init_channels, self.num_cells, auxiliary, "imagenet", self.pool_norm
        )


@dataclass(frozen=True)
class NasBench201CIFARNetwork(RetrainNetwork):
    """Cells of NAS-Bench-201, `nas_bench_201`."""

    paper_batch_size = 256

    init_channels: int = 16
    """C of the first stage."""
    num_cells: int = 15
    """Searched cells, a multiple of three."""

    def build(self, genotype: Genotype, spec: ImageSpec, auxiliary: bool = False) -> nn.Module:
        """See `RetrainNetwork`."""
        _check_depth(self.num_cells)
        return NasBench201Network(genotype, spec, self.init_channels, self.num_cells)
