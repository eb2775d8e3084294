"""Which networks belong to a search space: one row of one registry for each.

What can be said of a space without torch, its name, the cells of its genotypes, its rule of derivation, stands in its
class (`lit_nas.spaces.SearchSpace`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from lit_nas.edges import EdgeKind, PlainEdges
from lit_nas.engine import Engine
from lit_nas.genotype import Genotype
from lit_nas.networks.dags import DagNetwork, DagSearchNetwork
from lit_nas.networks.darts_search import SearchNetwork
from lit_nas.networks.gdas import GDASSearchNetwork
from lit_nas.networks.language_model import LanguageNetwork, build_language_search
from lit_nas.networks.mobile import MOBILE_NETWORKS, MobileSearchNetwork
from lit_nas.networks.nas_bench_201 import NasBench201SearchNetwork
from lit_nas.networks.paper_networks import CIFARNetwork, ImageNetNetwork, NasBench201CIFARNetwork
from lit_nas.networks.retrain_network import RetrainNetwork
from lit_nas.record.own_modules import say_missing
from lit_nas.spaces import DagSpace, DartsSpace, GDASSpace, MobileSpace, NasBench201Space, RecurrentSpace, SearchSpace
from lit_nas.specs import Spec

__all__ = (
    "SPACES",
    "SpaceRow",
    "build_retrain_network",
    "build_search_network",
    "default_retrain_network",
    "find_retrain_network",
    "refuse_other_kind",
    "register_space",
    "retrain_name",
    "retrain_networks",
)


@dataclass(frozen=True)
class SpaceRow:
    """A search space and its networks."""

    space: type[SearchSpace]
    """What is searched."""
    search: Callable[..., nn.Module]
    """(space, spec, engine, edges) -> search network, which maps a batch and a mixture to logits."""
    retrain: Mapping[str, RetrainNetwork] = field(default_factory=dict)
    """By name, what a genotype can be trained in; the first one unless another one is asked for."""


SPACES: dict[str, SpaceRow] = {
    row.space.name: row
    for row in (
        SpaceRow(DartsSpace, SearchNetwork, {"cifar": CIFARNetwork(), "imagenet": ImageNetNetwork()}),
        SpaceRow(NasBench201Space, NasBench201SearchNetwork, {"nas_bench_201": NasBench201CIFARNetwork()}),
        SpaceRow(MobileSpace, MobileSearchNetwork, MOBILE_NETWORKS),
        SpaceRow(DagSpace, DagSearchNetwork, {"dags": DagNetwork()}),
        SpaceRow(GDASSpace, GDASSearchNetwork, {"cifar": CIFARNetwork(), "imagenet": ImageNetNetwork()}),
        SpaceRow(RecurrentSpace, build_language_search, {"language_model": LanguageNetwork()}),
    )
}
"""By name of the space."""


def register_space(
    space: type[SearchSpace], search: Callable[..., nn.Module], retrain: Mapping[str, RetrainNetwork] | None = None
) -> None:
    """Adds a search space of your own, in the module that defines it:

        @dataclass(frozen=True)
        class ChainSpace(SearchSpace):
            name = "chain"
            ...

        register_space(ChainSpace, ChainSearchNetwork, {"chain": ChainNetwork()})

    Methods then search in it wherever it is named: `DARTS(spec, ChainSpace())` in Python, and in YAML
    `model.space: {class_path: my_package.ChainSpace}`, which imports the module. A retraining imports it where its
    network is named, `model.network: {class_path: my_package.ChainNetwork}`; without a name it takes the first of
    `retrain`, if the module has been imported. Nothing of it is imported because a file, a checkpoint or a genotype,
    names it: `load_module(path, trust=("my_package",))` trusts it.

    Args:
        space: Its class, with a `name` of its own.
        search: (space, spec, engine, edges) -> search network, a module that maps a batch and a mixture to logits.
        retrain: By name, what its genotypes can be trained in; the first one is the default.

    Raises:
        ValueError: if it has no name, or the name of a network belongs to another space.
    """  # noqa: D415
    if vars(space).get("name") is None:
        raise ValueError(f"{space.__name__} needs a name: set `name = 'mine'` in the class.")
    retrain = dict(retrain or {})
    for name, row in SPACES.items():
        if name != space.name and (taken := sorted(set(retrain) & set(row.retrain))):
            raise ValueError(
                f"The retraining networks {taken} are those of the space '{name}'. Choose other names for those of "
                f"'{space.name}'."
            )
    SPACES[space.name] = SpaceRow(space, search, retrain)


def build_search_network(space: SearchSpace, spec: Any, engine: Engine, edges: EdgeKind = PlainEdges()) -> nn.Module:
    """The search network of a space; maps a batch and a mixture to logits.

    Args:
        space: What is searched.
        spec: What data and model agree on, images and labels for example.
        engine: What computes the nodes of the cells.
        edges: What an edge makes of its candidates.

    Raises:
        ValueError: if the space has no network or a layout that cannot be built, `spec` or `edges` does not fit it, or
            `edges` is no kind of edge.
    """
    row = SPACES.get(getattr(space, "name", ""))
    if row is None or row.space is not type(space):
        known = ", ".join(each.space.__name__ for each in SPACES.values())
        raise ValueError(
            f"There is no search network for the space {type(space).__name__}. Known are: {known}. Networks of a space "
            "of your own are added by `register_space` (lit_nas.networks)."
        )
    if not isinstance(spec, space.spec_class):
        raise ValueError(
            f"Networks of the space {type(space).__name__} are built for {space.spec_class.__name__}, but the data "
            f"hand over {spec}. Choose other data (data) or another space (model.space)."
        )
    if not isinstance(edges, EdgeKind):
        raise ValueError(f"edges must be a kind of edge, such as PlainEdges() or PartialChannels(4), not {edges!r}.")
    space.check_layout()
    edges.check_space(space)
    return row.search(space, spec, engine, edges)


def retrain_networks() -> dict[str, RetrainNetwork]:
    """What genotypes can be trained in, by name."""
    return {name: network for row in SPACES.values() for name, network in row.retrain.items()}


def retrain_name(network: RetrainNetwork) -> str:
    """What a network is called: its name in the registry, or its class if it is not there."""
    return next((name for name, known in retrain_networks().items() if known == network), type(network).__name__)


def find_retrain_network(network: str | RetrainNetwork | None, genotype: Genotype | None) -> RetrainNetwork:
    """What a genotype is to be trained in.

    Args:
        network: Its name or itself; None means the first one of the space of the genotype.
        genotype: What is trained; needed where no network is named.

    Raises:
        ValueError: if the name or the space is unknown, listing the known ones.
    """
    if isinstance(network, RetrainNetwork):
        return network
    if network is None and genotype is not None:
        try:
            return default_retrain_network(genotype.space)
        except ValueError as error:
            raise ValueError(f"{error}{say_missing(genotype.meta)}") from None
    known = retrain_networks()
    if network not in known:
        raise ValueError(
            f"There is no network '{network}'. Known are: {', '.join(known)}. One of your own is named by its class "
            "(class_path, with init_args)."
        )
    return known[network]


def default_retrain_network(space: str) -> RetrainNetwork:
    """What genotypes of a space are trained in, unless told otherwise.

    Args:
        space: Its name.

    Raises:
        ValueError: if it is unknown or has no network.
    """
    if space not in SPACES:
        raise ValueError(
            f"The genotype is of the space '{space}', for which no network is known. Spaces are: {', '.join(SPACES)}; "
            f"or name one of the networks {', '.join(retrain_networks())}, or the class of your own, as `network`."
        )
    if not SPACES[space].retrain:
        raise ValueError(
            f"The space '{space}' was registered without a retraining network: name its class as `network`, or hand it "
            "to `register_space`."
        )
    return next(iter(SPACES[space].retrain.values()))


def refuse_other_kind(network: RetrainNetwork, spec: Spec) -> None:
    """Refuses a network for another kind of data than there are.

    Args:
        network: What a genotype is to be trained in.
        spec: What the data hand over.

    Raises:
        ValueError: naming both kinds.
    """
    if not isinstance(spec, type(network.paper_spec)):
        raise ValueError(
            f"The network '{retrain_name(network)}' is for {network.paper_spec.samples}, but the model trains on "
            f"{spec.samples}: choose another genotype (model.genotype), or the model for {network.paper_spec.samples} "
            "(RetrainModule for images, LanguageRetrainModule for text)."
        )


def build_retrain_network(
    network: str | RetrainNetwork | None,
    genotype: Genotype,
    spec: Spec,
    init_channels: int | None = None,
    num_cells: int | None = None,
    auxiliary: bool = False,
) -> nn.Module:
    """The network of a genotype; maps images and a drop probability to logits and auxiliary logits, or reads text.

    Args:
        network: Its name or itself; None means that of the space.
        genotype: Its cells.
        spec: Images and labels, or a vocabulary.
        init_channels: C of the first cell; None means the paper's.
        num_cells: Depth; None means the paper's.
        auxiliary: Whether there is an auxiliary head.

    Raises:
        ValueError: if the network is unknown or has no such head or number, or genotype, images or numbers do not fit.
    """
    found = find_retrain_network(network, genotype)
    refuse_other_kind(found, spec)
    if auxiliary and not found.has_auxiliary:
        raise ValueError(
            f"The network '{retrain_name(found)}' has no auxiliary head. Set model.optim.auxiliary_weight to 0 "
            "(auxiliary=False in Python)."
        )
    return found.with_numbers(init_channels=init_channels, num_cells=num_cells).build(genotype, spec, auxiliary)
