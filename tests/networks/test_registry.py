"""One row for each space: what is unknown is refused with the known named, and nothing takes the place of another."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from lit_nas.derivation import ArgmaxPerEdge, TopEdges, default_deriver
from lit_nas.edges import PartialChannels
from lit_nas.engine import Fused
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.networks import (
    CIFARNetwork,
    ImageNetNetwork,
    RetrainNetwork,
    SearchNetwork,
    build_retrain_network,
    build_search_network,
    registry,
)
from lit_nas.networks.registry import SPACES, find_retrain_network, register_space, retrain_networks
from lit_nas.spaces import CellSpace, DartsSpace, Position, SearchSpace, known_spaces
from lit_nas.specs import ImageSpec

SMALL = ImageSpec(height=8, width=8)


@dataclass(frozen=True)
class WordSpec:
    words: int = 10


@dataclass(frozen=True)
class OtherSpace(SearchSpace):
    """Whatever a test asks of it."""

    name = "other_of_the_registry"
    edges_per_node = 1
    positions: tuple[Position, ...] = (Position("cell", 4),)

    @property
    def cells(self):
        return {"cell": CellSpace("cell", ("skip_connect", "none"), ((0, 1),), 1)}

    @property
    def layout(self):
        return self.positions


@dataclass(frozen=True)
class WordSpace(OtherSpace):
    name = "words_of_the_registry"
    spec_class = WordSpec


@dataclass(frozen=True)
class OtherNetwork(RetrainNetwork):
    sizes: tuple[int, ...] = field(default=(3,))

    def build(self, genotype, spec, auxiliary=False):
        return nn.Identity()


@pytest.fixture
def rows(monkeypatch):
    """The registry, as it was before once the test has ended."""
    monkeypatch.setattr(registry, "SPACES", dict(SPACES))
    return registry.SPACES


def test_every_space_of_lit_nas_has_a_row():
    own = {name: space for name, space in known_spaces().items() if space.__module__.startswith("lit_nas.")}
    assert own.keys() <= SPACES.keys()
    for name, space in own.items():
        assert SPACES[name].space is space
        assert SPACES[name].retrain


def test_the_first_network_of_a_space_is_its_default():
    assert find_retrain_network(None, load_genotype("DARTS_V2")) == CIFARNetwork(36, 20)
    assert find_retrain_network("imagenet", load_genotype("DARTS_V2")) == ImageNetNetwork(48, 14)
    own = OtherNetwork((1, 2))
    assert find_retrain_network(own, load_genotype("DARTS_V2")) is own
    assert {"cifar", "imagenet", "nas_bench_201"} <= retrain_networks().keys()


def test_a_space_without_a_row_is_refused(rows):
    assert type(build_search_network(DartsSpace(2, 3), SMALL, Fused())) is SearchNetwork
    message = r"no search network for the space OtherSpace\. Known are: DartsSpace, NasBench201Space.*register_space"
    with pytest.raises(ValueError, match=message):
        build_search_network(OtherSpace(), SMALL, Fused())
    genotype = Genotype(load_genotype("DARTS_V2").cells, "unheard_of")
    with pytest.raises(ValueError, match=r"'unheard_of', for which no network is known\. Spaces are: darts, nas_bench"):
        build_retrain_network(None, genotype, SMALL)
    with pytest.raises(ValueError, match=r"no network 'mnist'\. Known are: cifar, imagenet, nas_bench_201"):
        build_retrain_network("mnist", genotype, SMALL)


def test_a_registered_space_has_its_networks(rows):
    register_space(OtherSpace, lambda space, spec, engine, edges: nn.Linear(spec.height, len(space.layout)))
    assert build_search_network(OtherSpace(), SMALL, Fused()).weight.shape == (1, 8)
    genotype = default_deriver(OtherSpace())(OtherSpace(), {"cell": torch.tensor([[0.6, 0.4]])})
    with pytest.raises(ValueError, match="'other_of_the_registry' was registered without a retraining network"):
        build_retrain_network(None, genotype, SMALL)
    register_space(OtherSpace, nn.Identity, {"other": OtherNetwork()})  # the module was loaded anew
    assert find_retrain_network(None, genotype) == find_retrain_network("other", genotype) == OtherNetwork()
    with pytest.raises(ValueError, match=r"The network 'other' has no auxiliary head"):
        build_retrain_network(None, genotype, SMALL, auxiliary=True)
    with pytest.raises(ValueError, match=r"OtherNetwork has no num_cells: leave out model\.num_cells\. It has: sizes"):
        build_retrain_network(None, genotype, SMALL, num_cells=3)
    with pytest.raises(ValueError, match=r"networks \['cifar'\] are those of the space 'darts'\. Choose other names"):
        register_space(OtherSpace, nn.Identity, {"cifar": OtherNetwork()})


def test_a_space_needs_a_name_to_be_registered(rows):
    class Nameless(OtherSpace):
        pass

    with pytest.raises(ValueError, match=r"Nameless needs a name: set `name = 'mine'`"):
        register_space(Nameless, nn.Identity)


def test_data_of_another_kind_are_refused(rows):
    for space in (OtherSpace, WordSpace):
        register_space(space, lambda space, spec, engine, edges: nn.Identity())
    assert isinstance(build_search_network(WordSpace(), WordSpec(), Fused()), nn.Identity)
    with pytest.raises(ValueError, match=r"space WordSpace are built for WordSpec, but the data hand over ImageSpec\("):
        build_search_network(WordSpace(), SMALL, Fused())
    with pytest.raises(ValueError, match=r"built for ImageSpec, but the data hand over WordSpec\(words=10\)"):
        build_search_network(DartsSpace(2, 3), WordSpec(), Fused())


@pytest.mark.parametrize("edges", ["x", PartialChannels])
def test_only_a_kind_of_edge_is_taken(edges):
    with pytest.raises(
        ValueError, match=r"^edges must be a kind of edge, such as PlainEdges\(\) .*, not .*(x|Partial)"
    ):
        build_search_network(DartsSpace(2, 3), SMALL, Fused(), edges)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ((), r"layout of the space 'other_of_the_registry' is empty"),
        ((Position("cell", 4), Position("odd", 4)), r"Position 1 .* has the cell 'odd'\. Known are: cell"),
        ((Position("cell", 0),), r"Position 0 .* at least one channel in and out"),
        ((Position("cell", 4, channels_in=0),), r"Position 0 .* at least one channel in and out"),
        ((Position("cell", 4, stride=3),), r"Position 0 .* has the stride 3, but must have 1 or 2"),
    ],
)
def test_a_layout_that_cannot_be_built_is_refused(rows, positions, message):
    register_space(OtherSpace, nn.Identity)
    with pytest.raises(ValueError, match=message):
        build_search_network(OtherSpace(positions), SMALL, Fused())


def test_rules_follow_from_what_a_space_says_of_itself(monkeypatch):
    assert default_deriver(DartsSpace()) == TopEdges(k=2)
    assert default_deriver(OtherSpace()) == TopEdges(k=1)
    monkeypatch.setattr(OtherSpace, "edges_per_node", None)
    assert default_deriver(OtherSpace()) == ArgmaxPerEdge()
