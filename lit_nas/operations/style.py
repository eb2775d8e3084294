"""How the operations of a network are normalised: searches and evaluation networks differ in this alone."""

from dataclasses import dataclass

__all__ = ("EVALUATION", "SEARCH", "OperationStyle")


@dataclass(frozen=True)
class OperationStyle:
    """Normalisation inside candidate operations.

    DARTS (Liu et al., 2019) searches without affine parameters, because a scale after the mixing weight would undo
    it, and normalises pooled features so that the outputs of all candidates are comparable. Evaluation networks
    have affine normalisation and plain pooling.
    """

    affine: bool
    """Whether BatchNorm learns a scale and a shift."""
    pool_norm: bool
    """Whether pooling is followed by BatchNorm."""
    conv_bias: bool = False
    """Whether a convolution before a BatchNorm has a bias: in the code of GDAS and NAS-Bench-201. Cells that are DAGs
    have no BatchNorm; there it is the bias of all convolutions."""
    track_running_stats: bool = True
    """Whether BatchNorm keeps running statistics; without them it normalises by the batch in evaluation, too."""


SEARCH = OperationStyle(affine=False, pool_norm=True)
EVALUATION = OperationStyle(affine=True, pool_norm=False)
