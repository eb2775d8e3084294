"""Which network belongs to a search space, and the kinds of evaluation networks with the numbers of their papers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine
from lit_nas.genotype import Genotype
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.networks.darts_search import SearchNetwork
from lit_nas.networks.nas_bench_201 import NasBench201Network, NasBench201SearchNetwork
from lit_nas.spaces import MOST_CELLS, DartsSpace, NasBench201Space, SearchSpace
from lit_nas.specs import ImageSpec

__all__ = (
    "EVALUATION_NETWORKS",
    "EvaluationKind",
    "EvaluationName",
    "build_evaluation_network",
    "build_search_network",
    "default_kind",
    "find_kind",
)

EvaluationName = Literal["cifar", "imagenet", "nas_bench_201"]
"""Names of the kinds of evaluation networks."""


@dataclass(frozen=True)
class EvaluationKind:
    """A kind of evaluation network, with the numbers of its paper."""

    build: Callable[..., nn.Module]
    """(genotype, inputs, init_channels, num_cells), and `auxiliary` where there may be such a head."""
    init_channels: int
    """C of the first cell."""
    num_cells: int
    """Depth in cells that have a genotype."""
    classes: int
    """K."""
    pixels: int
    """Height and width of an image."""
    batch_size: int
    """Images of a batch of the retraining."""
    auxiliary: bool = True
    """Whether it may have an auxiliary head."""


EVALUATION_NETWORKS: Mapping[str, EvaluationKind] = {
    "cifar": EvaluationKind(partial(EvaluationNetwork, stem="cifar"), 36, 20, 10, 32, 96),
    "imagenet": EvaluationKind(partial(EvaluationNetwork, stem="imagenet"), 48, 14, 1000, 224, 128),
    "nas_bench_201": EvaluationKind(NasBench201Network, 16, 15, 10, 32, 256, auxiliary=False),
}
_BY_SPACE = {"darts": "cifar", "nas_bench_201": "nas_bench_201"}  # name of the space -> kind
_SEARCH_NETWORKS: Mapping[type[SearchSpace], Callable[..., nn.Module]] = {
    DartsSpace: SearchNetwork,
    NasBench201Space: NasBench201SearchNetwork,
}


def build_search_network(
    space: SearchSpace, inputs: ImageSpec, engine: Engine, edges: EdgeKind = PlainEdges()
) -> nn.Module:
    """The search network of a space; maps images and a mixture to logits.

    Args:
        space: What is searched.
        inputs: Images and labels.
        engine: What computes the nodes of the cells.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the space has no network, or the images or the kind of edge do not fit it.
    """
    if type(space) not in _SEARCH_NETWORKS:
        known = ", ".join(kind.__name__ for kind in _SEARCH_NETWORKS)
        raise ValueError(f"There is no search network for the space {type(space).__name__}. Known are: {known}.")
    return _SEARCH_NETWORKS[type(space)](space, inputs, engine, edges)


def default_kind(genotype: Genotype) -> str:
    """Name of the kind of evaluation network that a genotype of its space gets unless another one is asked for.

    Raises:
        ValueError: if the space is unknown.
    """
    if genotype.space not in _BY_SPACE:
        raise ValueError(
            f"The genotype is of the space '{genotype.space}', for which no network is known. Spaces are: "
            f"{', '.join(_BY_SPACE)}; or name one of the networks {', '.join(EVALUATION_NETWORKS)} as `network`."
        )
    return _BY_SPACE[genotype.space]


def find_kind(name: str) -> EvaluationKind:
    """The kind of evaluation network of that name.

    Raises:
        ValueError: listing the known names.
    """
    if name not in EVALUATION_NETWORKS:
        raise ValueError(f"There is no network '{name}'. Known are: {', '.join(EVALUATION_NETWORKS)}.")
    return EVALUATION_NETWORKS[name]


def build_evaluation_network(
    name: str,
    genotype: Genotype,
    inputs: ImageSpec,
    init_channels: int | None = None,
    num_cells: int | None = None,
    auxiliary: bool = False,
) -> nn.Module:
    """The evaluation network of a genotype; maps images and a drop probability to logits and auxiliary logits.

    Args:
        name: Its kind.
        genotype: Its cells.
        inputs: Images and labels.
        init_channels: C of the first cell; None means the paper's.
        num_cells: Depth; None means the paper's.
        auxiliary: Whether there is an auxiliary head.

    Raises:
        ValueError: if the kind is unknown or has no such head, or genotype, images or numbers do not fit it.
    """
    kind = find_kind(name)
    if auxiliary and not kind.auxiliary:
        raise ValueError(
            f"The network '{name}' has no auxiliary head. Set model.optim.auxiliary_weight to 0 "
            "(auxiliary=False in Python)."
        )
    channels = kind.init_channels if init_channels is None else init_channels
    cells = kind.num_cells if num_cells is None else num_cells
    if cells > MOST_CELLS:
        raise ValueError(f"num_cells must be at most {MOST_CELLS}, not {cells}.")
    return kind.build(genotype, inputs, channels, cells, **({"auxiliary": auxiliary} if kind.auxiliary else {}))
